//! Documents as maps with integer keys: one reader, one writer.

use crate::canon::{self, Limits};
use crate::{Error, Kind, Result, Value};
use std::collections::BTreeMap;

/// Builds a document's map, key by key.
#[derive(Clone, Debug, Default)]
pub struct MapBuilder(Vec<(Value, Value)>);

impl MapBuilder {
    /// An empty map, for a part of a document.
    pub fn new() -> Self {
        MapBuilder::default()
    }

    /// The map of a whole document: key 0 holds its kind, such as `asl.dam/1`.
    pub fn document(kind: &str) -> Self {
        MapBuilder::new().put(0, kind)
    }

    /// Adds a key.
    #[must_use]
    pub fn put(mut self, key: i64, value: impl Into<Value>) -> Self {
        self.0.push((Value::from(key), value.into()));
        self
    }

    /// Adds a key where there is a value; an absent key is how "none" is written.
    #[must_use]
    pub fn opt(self, key: i64, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(v) => self.put(key, v),
            None => self,
        }
    }

    /// Adds a list.
    #[must_use]
    pub fn list<T: Into<Value>>(self, key: i64, items: impl IntoIterator<Item = T>) -> Self {
        self.put(
            key,
            Value::Array(items.into_iter().map(Into::into).collect()),
        )
    }

    /// The map as a value.
    pub fn build(self) -> Value {
        Value::Map(self.0)
    }

    /// The map in its one deterministic spelling.
    pub fn encode(self) -> Vec<u8> {
        canon::encode(&self.build())
    }
}

impl From<MapBuilder> for Value {
    fn from(map: MapBuilder) -> Value {
        map.build()
    }
}

/// Reads a document's map, key by key.
///
/// Keys from 0 up are critical: [`Fields::finish`] refuses one that nobody asked for. Negative
/// keys may be ignored by a reader that does not know them.
#[derive(Debug)]
pub struct Fields {
    what: String,
    map: BTreeMap<i64, Value>,
}

impl Fields {
    /// Reads a whole document of the given kind.
    ///
    /// # Errors
    /// `Invalid` where the bytes are not deterministic CBOR, or of another kind or version.
    pub fn document(bytes: &[u8], kind: &str, limits: Limits) -> Result<Fields> {
        let mut fields = Fields::of(canon::decode(bytes, kind, limits)?, kind)?;
        let found = fields.text(0)?;
        if found == kind {
            return Ok(fields);
        }
        let name = |k: &str| k.split('/').next().unwrap_or_default().to_string();
        let e = Error::new(
            Kind::Invalid,
            "read",
            kind,
            format!("it says it is {found:?}"),
        );
        Err(if name(&found) == name(kind) {
            e.next("it was written by another version of asl-host; read it with that version")
        } else {
            e
        })
    }

    /// Reads a map that is a part of a document; `what` names it in errors.
    ///
    /// # Errors
    /// `Invalid` where the value is not a map with integer keys.
    pub fn of(value: Value, what: &str) -> Result<Fields> {
        let bad = |why: &str| Error::new(Kind::Invalid, "read", what, why);
        let Value::Map(pairs) = value else {
            return Err(bad("not a map"));
        };
        let mut map = BTreeMap::new();
        for (key, v) in pairs {
            let key = key.as_integer().and_then(|i| i64::try_from(i).ok());
            map.insert(key.ok_or_else(|| bad("a key is not an integer"))?, v);
        }
        Ok(Fields {
            what: what.to_string(),
            map,
        })
    }

    fn bad(&self, key: i64, why: &str) -> Error {
        Error::new(
            Kind::Invalid,
            "read",
            &self.what,
            format!("key {key}: {why}"),
        )
    }

    /// Whether the key is there and not yet read.
    pub fn has(&self, key: i64) -> bool {
        self.map.contains_key(&key)
    }

    /// Takes any value.
    ///
    /// # Errors
    /// `Invalid` where the key is missing; so with all readers below, or where the type is another.
    pub fn value(&mut self, key: i64) -> Result<Value> {
        self.map
            .remove(&key)
            .ok_or_else(|| self.bad(key, "missing"))
    }

    /// Takes an unsigned number.
    pub fn uint(&mut self, key: i64) -> Result<u64> {
        let v = self.value(key)?;
        v.as_integer()
            .and_then(|i| u64::try_from(i).ok())
            .ok_or_else(|| self.bad(key, "not an unsigned number of 64 bits"))
    }

    /// Takes an unsigned number of 32 bits.
    pub fn uint32(&mut self, key: i64) -> Result<u32> {
        u32::try_from(self.uint(key)?).map_err(|_| self.bad(key, "not a number of 32 bits"))
    }

    /// Takes a signed number.
    pub fn int(&mut self, key: i64) -> Result<i64> {
        let v = self.value(key)?;
        v.as_integer()
            .and_then(|i| i64::try_from(i).ok())
            .ok_or_else(|| self.bad(key, "not a number of 64 bits"))
    }

    /// Takes a yes or no.
    pub fn flag(&mut self, key: i64) -> Result<bool> {
        self.value(key)?
            .as_bool()
            .ok_or_else(|| self.bad(key, "not true or false"))
    }

    /// Takes a text.
    pub fn text(&mut self, key: i64) -> Result<String> {
        self.value(key)?
            .into_text()
            .map_err(|_| self.bad(key, "not a text"))
    }

    /// Takes a byte string.
    pub fn bytes(&mut self, key: i64) -> Result<Vec<u8>> {
        self.value(key)?
            .into_bytes()
            .map_err(|_| self.bad(key, "not a byte string"))
    }

    /// Takes a byte string of exactly `N` bytes.
    pub fn fixed<const N: usize>(&mut self, key: i64) -> Result<[u8; N]> {
        let bytes = self.bytes(key)?;
        bytes
            .try_into()
            .map_err(|_| self.bad(key, &format!("not {N} bytes long")))
    }

    /// Takes an id of 32 bytes.
    pub fn id<T: From<[u8; 32]>>(&mut self, key: i64) -> Result<T> {
        self.fixed::<32>(key).map(T::from)
    }

    /// Takes a list.
    pub fn list(&mut self, key: i64) -> Result<Vec<Value>> {
        self.value(key)?
            .into_array()
            .map_err(|_| self.bad(key, "not a list"))
    }

    /// Takes a list of ids of 32 bytes.
    pub fn ids<T: From<[u8; 32]>>(&mut self, key: i64) -> Result<Vec<T>> {
        let items = self.list(key)?;
        let id = |v: Value| {
            v.into_bytes()
                .ok()
                .and_then(|b| <[u8; 32]>::try_from(b).ok())
        };
        items
            .into_iter()
            .map(|v| {
                id(v)
                    .map(T::from)
                    .ok_or_else(|| self.bad(key, "not a list of ids"))
            })
            .collect()
    }

    /// Takes a list of texts.
    pub fn texts(&mut self, key: i64) -> Result<Vec<String>> {
        let items = self.list(key)?;
        items
            .into_iter()
            .map(|v| {
                v.into_text()
                    .map_err(|_| self.bad(key, "not a list of texts"))
            })
            .collect()
    }

    /// Takes a map.
    pub fn fields(&mut self, key: i64) -> Result<Fields> {
        let value = self.value(key)?;
        Fields::of(value, &format!("{} key {key}", self.what))
    }

    /// Takes a key that may be missing, with one of the readers above.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn opt<T>(
        &mut self,
        key: i64,
        read: impl FnOnce(&mut Fields, i64) -> Result<T>,
    ) -> Result<Option<T>> {
        if self.has(key) {
            read(self, key).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// `Invalid` where a critical key (0 or above) was not asked for.
    pub fn finish(self) -> Result<()> {
        match self.map.keys().find(|k| **k >= 0) {
            Some(key) => Err(self.bad(*key, "unknown critical field")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "asl.test/1";

    fn read(bytes: &[u8]) -> Result<u64> {
        let mut f = Fields::document(bytes, KIND, Limits::DOCUMENT)?;
        let n = f.uint(1)?;
        f.finish()?;
        Ok(n)
    }

    #[test]
    fn a_document_is_read_back() {
        assert_eq!(
            read(&MapBuilder::document(KIND).put(1, 7).encode()).unwrap(),
            7
        );
    }

    #[test]
    fn an_unknown_critical_field_is_refused_and_an_uncritical_one_ignored() {
        let base = || MapBuilder::document(KIND).put(1, 7);
        assert!(read(&base().put(-3, "note").encode()).is_ok());
        let e = read(&base().put(2, "new").encode()).unwrap_err();
        assert!(e.why().contains("unknown critical field"), "{e}");
    }

    #[test]
    fn another_version_is_refused_with_advice() {
        let e = read(&MapBuilder::document("asl.test/2").put(1, 7).encode()).unwrap_err();
        assert!(e.what_next().contains("another version"), "{e:?}");
        let e = read(&MapBuilder::document("asl.other/1").put(1, 7).encode()).unwrap_err();
        assert!(e.what_next().is_empty(), "{e:?}");
    }

    #[test]
    fn a_wrong_type_or_a_missing_key_is_refused() {
        for doc in [
            MapBuilder::document(KIND),
            MapBuilder::document(KIND).put(1, -7),
            MapBuilder::document(KIND).put(1, "seven"),
            MapBuilder::new().put(1, 7),
        ] {
            assert!(read(&doc.encode()).is_err());
        }
        assert!(read(&canon::encode(&Value::Array(vec![]))).is_err());
        let text_key = Value::Map(vec![(Value::from("a"), Value::from(1))]);
        assert!(read(&canon::encode(&text_key)).is_err());
    }
}
