//! Cuts the text of one record's data into tokens, and refuses whatever would make a zone file read more or less
//! than this one text: a line's end, a comment, a parenthesis, a quote that is not closed. And looks whether what is
//! opened in a whole file is closed again.

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
    let mut at = 0;
    let mut quotes = Quotes::default();
    for symbol in symbols(text) {
        match symbol {
            " " | "\t" if !quotes.open => return Ok(at),
            ";" | "(" | ")" if !quotes.open => return Err("';', '(' and ')' have to be inside quotes"),
            "\\" => return Err("ends with a backslash"),
            _ if symbol.contains(char::is_control) => {
                return Err("control characters have to be written as \\DDD");
            }
            _ if !symbol.is_ascii() => return Err("characters beyond ASCII have to be written as \\DDD"),
            _ => quotes.note(symbol)?,
        }
        at += symbol.len();
    }
    quotes.end().map(|()| at)
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

/// Whether every quote, parenthesis and escape of a zone file is complete, and every directive known; else the
/// line, and what is wrong.
///
/// `domain` relies on it: it runs past its buffer in files that end inside a parenthesis, for one.
pub(super) fn check_closed(text: &str) -> Result<(), (usize, &'static str)> {
    let (mut open, mut last) = (0, 1);
    for (line, text) in (1..).zip(text.split('\n')) {
        check_control(text).map_err(|reason| (line, reason))?;
        open = still_open(text, open).map_err(|reason| (line, reason))?;
        last = line;
    }
    if open > 0 { Err((last, "a parenthesis is not closed")) } else { Ok(()) }
}

/// `domain` runs past its buffer in some lines that include a file, which we refuse anyway.
fn check_control(line: &str) -> Result<(), &'static str> {
    let word = line.split([' ', '\t', '\r']).next().unwrap_or(line);
    let is_known = |known: &&str| known.eq_ignore_ascii_case(word);
    if !line.starts_with('$') || ["$ORIGIN", "$TTL"].iter().any(is_known) {
        return Ok(());
    }
    Err("only the directives $ORIGIN and $TTL are accepted")
}

/// How many parentheses are open after a line.
fn still_open(line: &str, before: usize) -> Result<usize, &'static str> {
    let mut open = before;
    let mut quotes = Quotes::default();
    for symbol in symbols(line) {
        match symbol {
            ";" if !quotes.open => break,
            "(" if !quotes.open => open += 1,
            ")" if !quotes.open => {
                open = open.checked_sub(1).ok_or("a parenthesis is closed that was not opened")?
            }
            "\\" | "\\\r" => return Err("a backslash ends the line"),
            _ => (),
        }
        quotes.note(symbol)?;
    }
    quotes.end().map(|()| open)
}

/// Whether a quote is open, and whether one was closed just now.
#[derive(Default)]
struct Quotes {
    open: bool,
    just_closed: bool,
}

impl Quotes {
    fn note(&mut self, symbol: &str) -> Result<(), &'static str> {
        if self.just_closed && !matches!(symbol, " " | "\t" | "\r" | "(" | ")") {
            return Err("a space has to follow a closing quote");
        }
        self.just_closed = self.open && symbol == "\"";
        self.open ^= symbol == "\"";
        Ok(())
    }

    fn end(&self) -> Result<(), &'static str> {
        if self.open { Err("a quote is not closed") } else { Ok(()) }
    }
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
