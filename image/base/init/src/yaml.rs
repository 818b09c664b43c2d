//! YAML as SystemRescue's own reader understands it, which is neither YAML 1.1 nor 1.2.
//!
//! Only `true yes false no` in lower case are booleans; every number is a floating one; a map
//! whose keys are the plain numbers 1 to n is a list. What crashes that reader or goes beyond
//! the portable subset (null, anchors, tags, several documents) is refused, with its line.
//! Design: image.md section 2.

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use serde_json::{Map, Number, Value};

/// A configuration larger than this is a mistake or an attack.
pub const MAX_BYTES: u64 = 256 * 1024;
const MAX_DEPTH: usize = 32;
const MAX_NODES: usize = 10_000;

/// What a file says, and what a person should know about it.
#[derive(Debug, PartialEq)]
pub struct Parsed {
    pub map: Map<String, Value>,
    pub warnings: Vec<String>,
}

/// Reads one file's text. An error names the line.
pub fn parse(bytes: &[u8]) -> Result<Parsed, String> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("it is larger than {MAX_BYTES} bytes"));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let line = 1 + bytes
            .iter()
            .take(e.valid_up_to())
            .filter(|b| **b == b'\n')
            .count();
        format!("line {line}: not UTF-8")
    })?;
    let mut reader = Reader {
        parser: Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)),
        nodes: 0,
        warnings: Vec::new(),
    };
    let mut map = None;
    loop {
        let (event, line) = reader.next()?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            _ if map.is_some() => return Err(format!("line {line}: a second document begins")),
            event => map = Some(as_scopes(reader.node(event, line, 0)?, line)?),
        }
    }
    Ok(Parsed {
        map: map.unwrap_or_default(),
        warnings: reader.warnings,
    })
}

/// The outermost value: a map of scopes, or nothing at all.
fn as_scopes(value: Value, line: usize) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(map) => Ok(map),
        Value::String(text) if text.is_empty() => Ok(Map::new()),
        _ => Err(format!("line {line}: not a map of scopes such as global:")),
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    nodes: usize,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), String> {
        match self.parser.next_event() {
            Some(Ok((event, Span { start, .. }))) => Ok((event, start.line())),
            Some(Err(e)) => Err(format!("line {}: {}", e.marker().line(), e.info())),
            None => Ok((Event::StreamEnd, 0)),
        }
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Value, String> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(format!("line {line}: more than {MAX_NODES} values"));
        }
        if depth > MAX_DEPTH {
            return Err(format!("line {line}: nested deeper than {MAX_DEPTH}"));
        }
        match event {
            Event::Alias(_) => Err(format!(
                "line {line}: an alias (*name) is not portable: write the value again"
            )),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor != 0 =>
            {
                Err(format!(
                    "line {line}: an anchor (&name) is not portable: leave it out"
                ))
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => Err(format!(
                "line {line}: a tag (!name) is not portable: leave it out"
            )),
            Event::Scalar(text, ScalarStyle::Plain, ..) => plain(&text, line),
            Event::Scalar(text, ..) => Ok(Value::String(text.into_owned())),
            Event::SequenceStart(..) => self.list(depth),
            Event::MappingStart(..) => self.map(line, depth),
            other => Err(format!("line {line}: unexpected {other:?}")),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, String> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::Array(items)),
                (event, line) => items.push(self.node(event, line, depth + 1)?),
            }
        }
    }

    fn map(&mut self, first: usize, depth: usize) -> Result<Value, String> {
        let mut map = Map::new();
        let mut plain_keys = true;
        loop {
            let (event, line) = self.next()?;
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(key, style, 0, None) if !key.is_empty() => {
                    plain_keys &= style == ScalarStyle::Plain;
                    key.into_owned()
                }
                _ => return Err(format!("line {line}: a key must be a plain or quoted word")),
            };
            let (event, value_line) = self.next()?;
            let value = self.node(event, value_line, depth + 1)?;
            if map.insert(key.clone(), value).is_some() {
                self.warnings.push(format!(
                    "line {line}: {key} stands here twice; the last one counts"
                ));
            }
        }
        if !plain_keys
            || map.is_empty()
            || !(1..=map.len()).all(|n| map.contains_key(&n.to_string()))
        {
            return Ok(Value::Object(map));
        }
        self.warnings.push(format!(
            "line {first}: keys 1 to {} make a list, not names: use words or larger numbers",
            map.len()
        ));
        let items = (1..=map.len()).filter_map(|n| map.remove(&n.to_string()));
        Ok(Value::Array(items.collect()))
    }
}

/// A scalar without quotes.
fn plain(text: &str, line: usize) -> Result<Value, String> {
    match text {
        "true" | "yes" => Ok(Value::Bool(true)),
        "false" | "no" => Ok(Value::Bool(false)),
        "~" | "null" | "Null" | "NULL" => Err(format!(
            "line {line}: {text} is not portable: write \"\" to unset"
        )),
        _ => Ok(number(text).map_or_else(|| Value::String(text.to_string()), Value::Number)),
    }
}

/// Decimal digits with an optional sign, fraction and exponent.
fn number(text: &str) -> Option<Number> {
    let decimal = text
        .bytes()
        .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    let digits = text
        .trim_start_matches(['-', '+'])
        .starts_with(|c: char| c.is_ascii_digit());
    (decimal && digits)
        .then(|| text.parse().ok().and_then(Number::from_f64))
        .flatten()
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
