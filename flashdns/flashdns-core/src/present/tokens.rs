//! Cuts the text of one record's data into tokens, and refuses whatever would make a zone file read more or less
//! than this one text: a line's end, a comment, a parenthesis, a quote that is not closed.

/// Octets of one string (RFC 1035 §3.3).
const STRING_BYTES_MAX: usize = 255;

/// The tokens of `text`, with their quotes and escapes.
pub(super) fn tokens(text: &str) -> Result<Vec<&str>, &'static str> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_matches(SPACE);
    while !rest.is_empty() {
        let (token, after) = rest.split_at(token_length(rest)?);
        tokens.push(token);
        rest = after.trim_start_matches(SPACE);
    }
    Ok(tokens)
}

const SPACE: [char; 2] = [' ', '\t'];

fn token_length(text: &str) -> Result<usize, &'static str> {
    let (mut at, mut quoted) = (0, false);
    for symbol in symbols(text) {
        match symbol {
            "\"" => quoted = !quoted,
            " " | "\t" if !quoted => return Ok(at),
            ";" | "(" | ")" if !quoted => return Err("';', '(' and ')' have to be inside quotes"),
            "\\" => return Err("ends with a backslash"),
            _ if symbol.contains(char::is_control) => {
                return Err("control characters have to be written as \\DDD");
            }
            _ if !symbol.is_ascii() => return Err("characters beyond ASCII have to be written as \\DDD"),
            _ => (),
        }
        at += symbol.len();
    }
    if quoted { Err("a quote is not closed") } else { Ok(at) }
}

/// Characters and escapes.
fn symbols(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (symbol, after) = rest.split_at(symbol_length(rest)?);
        rest = after;
        Some(symbol)
    })
}

fn symbol_length(text: &str) -> Option<usize> {
    let mut chars = text.chars();
    let first = chars.next()?;
    if first != '\\' {
        return Some(first.len_utf8());
    }
    let digits = chars.as_str().bytes().take(3).take_while(u8::is_ascii_digit).count();
    Some(1 + if digits == 3 { 3 } else { chars.next().map_or(0, char::len_utf8) })
}

/// Appends a string of a text record, in pieces that are short enough.
pub(super) fn push_string(line: &mut String, token: &str) {
    let inside = token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(token);
    let pieces: Vec<&str> = symbols(inside).collect();
    if pieces.len() <= STRING_BYTES_MAX || pieces.contains(&"\"") {
        line.push_str(token);
        return;
    }
    for (index, piece) in pieces.chunks(STRING_BYTES_MAX).enumerate() {
        line.push_str(if index == 0 { "\"" } else { " \"" });
        line.extend(piece.iter().copied());
        line.push('"');
    }
}
