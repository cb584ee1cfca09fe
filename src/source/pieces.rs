//! Splits texts: a row of a Durable Object's storage has at most 2 MB, and an interest or a batch may be larger.

/// The most bytes of a piece.
pub const MAX_PIECE_BYTES: usize = 1 << 20;

/// A text in pieces of at most `max` bytes and at least one character; an empty text is one empty piece.
pub fn pieces(text: &str, max: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let first = text.chars().next().map_or(0, char::len_utf8);
        let end = text.floor_char_boundary(max).max(first);
        let (piece, more) = text.split_at_checked(end)?;
        rest = (!more.is_empty()).then_some(more);
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_text_and_cut_no_character() {
        for text in ["", "a", "abc", "abcd", "aé", "ééé", "a😀b😀", "😀😀"] {
            for max in 1..6 {
                let cut: Vec<&str> = pieces(text, max).collect();
                assert_eq!(cut.concat(), text, "{max}");
                let fits = |piece: &&str| piece.len() <= max || piece.chars().count() == 1;
                assert!(cut.iter().all(fits), "{cut:?}, {max}");
                assert!(text.is_empty() || cut.iter().all(|piece| !piece.is_empty()), "{cut:?}");
            }
        }
        assert_eq!(pieces("", 3).collect::<Vec<_>>(), [""]);
        assert_eq!(pieces("abcdefg", 3).collect::<Vec<_>>(), ["abc", "def", "g"]);
    }
}
