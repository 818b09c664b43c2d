//! The words on the screen and the words on the owner's card (flows.md, step 2).
//!
//! A question that Enter answers is answered without looking. So one word of twelve is left out,
//! another one each time, and only the card can fill it in: who is about to seal for a stranger's
//! key types the card's word, and is stopped.

use super::ui::Ui;
use crate::commands::context;
use crate::commands::keys::recipient_words;
use asl_core::{Error, Kind, Result};

/// Times a word may be mistyped.
const TRIES: u32 = 3;

/// What is typed by who has no card at hand.
const NO_CARD: &str = "without card";

/// Shows whose key will open the data, and has the person fill in a word from the card.
///
/// A session that may not ask only shows them.
///
/// # Errors
/// `Refused` where the card says another word; `Interrupted` on Ctrl-C.
pub fn with_the_card(recipients: &[String], ui: Ui) -> Result<()> {
    for recipient in recipients {
        let said = recipient_words(recipient);
        if !ui.may_ask() {
            ui.say(&format!("Sealing for {recipient}\n  words: {said}"));
            continue;
        }
        let left_out = one_of(said.split(' ').count())?;
        ui.say(&format!(
            "Sealing for {recipient}\n  words: {}\nCompare them with the owner's card. Enter alone: there is no card here.",
            with_a_gap(&said, left_out)
        ));
        fill_in(&said, left_out, ui)?;
    }
    Ok(())
}

fn fill_in(said: &str, left_out: usize, ui: Ui) -> Result<()> {
    let question = format!("Type word {} of the owner's card", left_out + 1);
    for left in (0..TRIES).rev() {
        let typed = ui.line(&question, "interactive")?;
        if typed.is_empty() {
            return without_the_card(said, ui);
        }
        if fits(&typed, said, left_out) {
            return Ok(());
        }
        if left > 0 {
            ui.say("That is not the word. Look at the card again, under \"owner\".");
        }
    }
    Err(Error::new(
        Kind::Refused,
        "seal for",
        "these recipients",
        "their words are not the card's",
    )
    .next("use the right key stick; nothing was sealed"))
}

fn without_the_card(said: &str, ui: Ui) -> Result<()> {
    ui.say(&format!(
        "  words: {said}\nWithout the card nobody here can tell whose key this is. If it is a stranger's, the\nstranger opens what is sealed, and the owner cannot. Ask the owner by telephone for the words."
    ));
    let question = format!("Type {NO_CARD} to seal for this key all the same");
    if ui.typed(&question, NO_CARD, "interactive")? {
        return Ok(());
    }
    Err(Error::new(
        Kind::Refused,
        "seal for",
        "these recipients",
        "nobody compared their words with the card",
    )
    .next("fetch the card, or ask the owner for the words; nothing was sealed"))
}

/// Whether the answer is the word that was left out, or the whole line of the card.
fn fits(typed: &str, said: &str, left_out: usize) -> bool {
    let typed: Vec<String> = typed.split_whitespace().map(str::to_lowercase).collect();
    let said: Vec<&str> = said.split(' ').collect();
    match typed.as_slice() {
        [one] => said.get(left_out) == Some(&one.as_str()),
        all => all == said,
    }
}

fn with_a_gap(said: &str, left_out: usize) -> String {
    let word = |(n, w)| if n == left_out { "____" } else { w };
    let shown: Vec<&str> = said.split(' ').enumerate().map(word).collect();
    shown.join(" ")
}

/// A number below `count`; how evenly it falls does not matter, only that it changes.
fn one_of(count: usize) -> Result<usize> {
    let [first, ..] = context().nonce()?;
    Ok(usize::from(first) % count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "a b c d e f g h i j k l";

    #[test]
    fn the_word_left_out_is_not_shown_and_only_it_or_the_whole_line_fits() {
        assert_eq!(with_a_gap(SAID, 2), "a b ____ d e f g h i j k l");
        assert!(fits("c", SAID, 2));
        assert!(fits(" C ", SAID, 2));
        assert!(fits(&SAID.replace(' ', "  "), SAID, 2));
        for other in ["b", "y", "yes", "", "a b c", "a b c d e f g h i j k x"] {
            assert!(!fits(other, SAID, 2), "{other}");
        }
    }

    #[test]
    fn every_word_can_be_the_one_that_is_asked_for() {
        let asked: std::collections::BTreeSet<usize> =
            (0..2000).map(|_| one_of(12).unwrap()).collect();
        assert_eq!(asked, (0..12).collect());
    }
}
