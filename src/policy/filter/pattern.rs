//! `like`, `ilike`, `match`, `imatch`: patterns in bounded time, because any subscriber may write one.

use regex_lite::{Regex, RegexBuilder};

use crate::value::json;

/// Bytes of a regular expression's text, and of its compiled form.
const MAX_EXPRESSION: usize = 256;
const MAX_COMPILED: usize = 16 * 1024;
/// Size classes of compiled expressions: the smallest that fits decides the cost of a step. And the bytes of a state.
const SIZES: [usize; 5] = [1_024, 2_048, 4_096, 8_192, MAX_COMPILED];
const STATE_BYTES: usize = 32;
/// Bytes of a cell that patterns are matched against: the work of a regular expression is the product of both lengths,
/// and one of its steps costs a hundred times that of a `like`. Regular expressions have a lower limit.
const MAX_TEXT: usize = 4_096;
const MAX_REGEX_TEXT: usize = 512;
/// Steps of a `like` per character of text and pattern.
const MAX_STEPS: usize = 4;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    Like { pieces: Vec<LikeElement>, any_case: bool },
    Regex { regex: Regex, any_case: bool, states: u64 },
}

/// One element of a `like` pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LikeElement {
    /// `%`
    Any,
    /// `_`
    One,
    Literal(char),
}

impl Pattern {
    /// `%` is any text, `_` any character, `\` escapes the next one.
    pub(super) fn like(pattern: &str, any_case: bool) -> Pattern {
        let pattern = if any_case { pattern.to_lowercase() } else { pattern.to_owned() };
        let mut characters = pattern.chars();
        let mut pieces = Vec::new();
        while let Some(c) = characters.next() {
            pieces.push(match c {
                '%' => LikeElement::Any,
                '_' => LikeElement::One,
                '\\' => LikeElement::Literal(characters.next().unwrap_or('\\')),
                c => LikeElement::Literal(c),
            });
        }
        Pattern::Like { pieces, any_case }
    }

    /// A regular expression, found anywhere in the text unless anchored.
    pub(super) fn regex(pattern: &str, any_case: bool) -> Result<Pattern, String> {
        if pattern.len() > MAX_EXPRESSION {
            return Err(format!("a regular expression has at most {MAX_EXPRESSION} bytes"));
        }
        let folded = if any_case { fold(pattern) } else { pattern.to_owned() };
        let build = |size: usize| {
            let mut builder = RegexBuilder::new(&folded);
            let built = builder.case_insensitive(any_case).size_limit(size).nest_limit(16).build();
            built.ok().map(|regex| Pattern::Regex { regex, any_case, states: (size / STATE_BYTES) as u64 })
        };
        let smallest = SIZES.into_iter().find_map(build);
        smallest.ok_or_else(|| String::from("the regular expression is malformed or too large"))
    }

    /// Whether a string cell matches; `None` if the cell is not a string or too long, or if `take` refuses the steps of
    /// a regular expression: at most one for each state and byte of the text.
    pub(super) fn matches(&self, cell: &str, take: &dyn Fn(u64) -> bool) -> Option<bool> {
        let most = if matches!(self, Pattern::Regex { .. }) { MAX_REGEX_TEXT } else { MAX_TEXT };
        let text = json::string(cell).filter(|text| text.len() <= most)?;
        if let Pattern::Regex { states, .. } = self
            && !take(states.saturating_mul(text.len() as u64 + 1))
        {
            return None;
        }
        Some(match self {
            Pattern::Regex { regex, any_case: true, .. } => regex.is_match(&fold(&text)),
            Pattern::Regex { regex, any_case: false, .. } => regex.is_match(&text),
            Pattern::Like { pieces, any_case: true } => like(pieces, &text.to_lowercase())?,
            Pattern::Like { pieces, any_case: false } => like(pieces, &text)?,
        })
    }
}

/// Lower case beyond ASCII, which the library's own folding does not cover. ASCII is left alone: `\D` and `\d` differ.
fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            folded.push(c);
        } else {
            folded.extend(c.to_lowercase());
        }
    }
    folded
}

/// Matches greedily, with backtracking to the last `%` only. On an adversarial text that takes the product of both
/// lengths, so steps are counted: `None` beyond a few times their sum, which no reasonable pattern needs.
fn like(pieces: &[LikeElement], text: &str) -> Option<bool> {
    let text: Vec<char> = text.chars().collect();
    let mut steps = MAX_STEPS.saturating_mul(text.len() + pieces.len());
    let (mut at_piece, mut at_text, mut back): (usize, usize, Option<(usize, usize)>) = (0, 0, None);
    while at_text < text.len() {
        steps = steps.checked_sub(1)?;
        match pieces.get(at_piece) {
            Some(LikeElement::Any) => {
                at_piece += 1;
                back = Some((at_piece, at_text));
                continue;
            }
            Some(LikeElement::One) => {}
            Some(LikeElement::Literal(c)) if text.get(at_text) == Some(c) => {}
            _ => {
                let Some((piece, place)) = back else { return Some(false) };
                (at_piece, at_text) = (piece, place + 1);
                back = Some((piece, place + 1));
                continue;
            }
        }
        at_piece += 1;
        at_text += 1;
    }
    Some(pieces.iter().skip(at_piece).all(|piece| *piece == LikeElement::Any))
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Pattern {
        fn holds(&self, cell: &str) -> Option<bool> {
            self.matches(cell, &|_| true)
        }
    }

    #[test]
    fn like_patterns() {
        let matches = |pattern: &str, text: &str| Pattern::like(pattern, false).holds(&format!("\"{text}\"")).unwrap();
        for (pattern, text) in
            [("%", ""), ("a%c", "abbc"), ("%b%", "abc"), ("a_c", "aéc"), ("100\\%", "100%"), ("%a%a", "bababa")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a%c", "abcd"), ("a_c", "ac"), ("100\\%", "1000"), ("_", ""), ("A", "a")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        assert!(Pattern::like("É%", true).holds("\"été\"").unwrap());
        let regex = |pattern, any_case| Pattern::regex(pattern, any_case).unwrap();
        assert!(regex("^ÉT[À-Þ]", true).holds("\"éTé\"").unwrap());
        assert!(regex("^été$", true).holds("\"ÉTÉ\"").unwrap());
        assert!(!regex("É", false).holds("\"é\"").unwrap());
        assert!(!regex("^\\D$", true).holds("\"7\"").unwrap());
    }

    #[test]
    fn hostile_patterns_stay_cheap() {
        assert!(Pattern::regex(&"(a*)*".repeat(60), false).is_err());
        assert!(Pattern::regex("((a{99}){99}){99}", false).is_err());
        let long = format!("\"{}\"", "a".repeat(MAX_REGEX_TEXT + 1));
        assert_eq!(Pattern::regex("a", false).unwrap().holds(&long), None);
        let text = format!("\"{}\"", "a".repeat(MAX_TEXT));
        assert_eq!(Pattern::like(&"%a".repeat(500), false).holds(&text), Some(true));
        let bomb = format!("%{}b%", "a".repeat(500));
        assert_eq!(Pattern::like(&bomb, false).holds(&text), None, "a product of the lengths");
        let found = format!("\"{}needle{}\"", "need ".repeat(400), "le".repeat(900));
        assert_eq!(Pattern::like("%need%needle%le", false).holds(&found), Some(true));
        assert_eq!(Pattern::like("%", false).holds(&format!("\"{}\"", "a".repeat(MAX_TEXT + 1))), None);
    }
}
