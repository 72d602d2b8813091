//! Texts that the schema of a Tenant takes, by the same rules as its patterns.

/// Whether it is the value of a label, or the name in its key.
pub(super) fn is_label(text: &str) -> bool {
    let ends = |end: Option<char>| end.is_some_and(|c| c.is_ascii_alphanumeric());
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.len() <= 63
        && ends(text.chars().next())
        && ends(text.chars().last())
        && text.chars().all(plain)
}

/// As the schema has it: small letters and digits at both ends, with dashes and dots between.
pub(super) fn is_subdomain(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let plain = |b: u8| inner(b) || matches!(b, b'-' | b'.');
    let bytes = text.as_bytes();
    let ends = bytes
        .first()
        .zip(bytes.last())
        .is_some_and(|(a, b)| inner(*a) && inner(*b));
    ends && text.len() <= 253 && text.bytes().all(plain)
}

/// The same amounts of CPU as the schema's pattern takes.
pub(super) fn is_cores(text: &str) -> bool {
    let digits = |text: &str, most| {
        (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    };
    match (text.strip_suffix('m'), text.split_once('.')) {
        (Some(thousandths), _) => digits(thousandths, 9),
        (None, Some((whole, part))) => digits(whole, 6) && digits(part, 3),
        (None, None) => digits(text, 6),
    }
}

/// The same amounts of bytes as the schema's pattern takes.
pub(super) fn is_bytes(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let most = match &text[digits..] {
        "" => 14,
        "k" | "Ki" => 11,
        "M" | "Mi" => 8,
        "G" | "Gi" => 5,
        "T" | "Ti" => 3,
        _ => 0,
    };
    let small = |number: u32| (100..250).contains(&number);
    let is_small = most != 3 || digits < 3 || text[..3].parse().is_ok_and(small);
    (1..=most).contains(&digits) && is_small
}

/// The same amounts of money as the schema's pattern takes.
pub(super) fn is_money(text: &str) -> bool {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str, most| {
        (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    };
    digits(whole, 12) && digits(part, 6)
}
