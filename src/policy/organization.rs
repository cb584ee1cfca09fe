//! Organization ids, which name the tenants' objects.

/// Characters of an id.
const MAX_CHARACTERS: usize = 128;

/// Whether a text is an organization id: 1 to 128 characters of `[A-Za-z0-9_.:-]` (docs/protocol-native.md,
/// Publishing).
pub fn is_organization(text: &str) -> bool {
    let fits = (1..=MAX_CHARACTERS).contains(&text.len());
    fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte))
}
