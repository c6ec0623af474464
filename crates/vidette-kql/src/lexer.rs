//! Text to tokens. The lexer never fails: what it cannot read becomes a diagnostic and a token that stands for it.

use crate::diagnostics::{Diagnostic, codes};
use crate::span::Span;
use crate::types::ScalarType;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// A name or keyword; `$left` too.
    Name,
    /// `!has`, `!in`, `!contains` and their kind, without blanks.
    BangName,
    Long,
    Real,
    TimeSpan,
    String,
    /// `datetime(…)`, `guid(…)`, `int(…)`: type name, parentheses and what stands between them.
    Typed(ScalarType),
    Pipe,
    Dot,
    DotDot,
    Comma,
    Semicolon,
    Colon,
    Assign,
    Arrow,
    OpenParen,
    CloseParen,
    OpenBracket,
    CloseBracket,
    OpenBrace,
    CloseBrace,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Equal,
    NotEqual,
    EqualTilde,
    NotTilde,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Tilde,
    Question,
    At,
    /// A character that begins no token.
    Unknown,
    End,
}

#[derive(Clone, Copy, Debug)]
pub struct Lexeme {
    pub token: Token,
    pub span: Span,
}

/// Splits the text into tokens; the last one is `End`. Blanks and `//` comments are left out.
pub fn lex(source: &str) -> (Vec<Lexeme>, Vec<Diagnostic>) {
    let mut lexer = Lexer { source, bytes: source.as_bytes(), at: 0, diagnostics: Vec::new() };
    let mut tokens = Vec::with_capacity(source.len() / 4);
    loop {
        lexer.skip_trivia();
        let start = lexer.at;
        let token = lexer.next_token();
        tokens.push(Lexeme { token, span: Span::new(start, lexer.at) });
        if token == Token::End {
            return (tokens, lexer.diagnostics);
        }
    }
}

struct Lexer<'a> {
    source: &'a str,
    bytes: &'a [u8],
    at: usize,
    diagnostics: Vec<Diagnostic>,
}

/// The suffixes of timespan literals and their length in ticks.
const TIMESPAN_UNITS: &[(&str, i64)] = &[
    ("microseconds", 10),
    ("microsecond", 10),
    ("milliseconds", 10_000),
    ("millisecond", 10_000),
    ("nanoseconds", 0),
    ("nanosecond", 0),
    ("minutes", 600_000_000),
    ("minute", 600_000_000),
    ("seconds", 10_000_000),
    ("second", 10_000_000),
    ("micros", 10),
    ("millis", 10_000),
    ("hours", 36_000_000_000),
    ("micro", 10),
    ("milli", 10_000),
    ("nanos", 0),
    ("ticks", 1),
    ("days", 864_000_000_000),
    ("hour", 36_000_000_000),
    ("nano", 0),
    ("tick", 1),
    ("hrs", 36_000_000_000),
    ("day", 864_000_000_000),
    ("min", 600_000_000),
    ("sec", 10_000_000),
    ("hr", 36_000_000_000),
    ("ms", 10_000),
    ("d", 864_000_000_000),
    ("h", 36_000_000_000),
    ("m", 600_000_000),
    ("s", 10_000_000),
];

/// Ticks of a timespan literal such as `1.5h` or `10tick`; `None` when it is out of range.
pub fn timespan_literal(text: &str) -> Option<i64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let ticks = TIMESPAN_UNITS.iter().find(|(name, _)| *name == unit)?.1;
    if ticks == 0 {
        return Some((number.parse::<f64>().ok()? / 100.0) as i64);
    }
    match number.parse::<i64>() {
        Ok(whole) => whole.checked_mul(ticks),
        Err(_) => Some((number.parse::<f64>().ok()? * ticks as f64).round() as i64),
    }
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn is_name_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// White space beyond ASCII, such as what word processors make of blanks, and marks without width.
fn is_wide_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}' | '\u{180e}')
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_trivia(&mut self) {
        loop {
            match self.peek(0) {
                b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c => self.at += 1,
                b'/' if self.peek(1) == b'/' => {
                    self.at = self.source[self.at..].find(['\n', '\r']).map_or(self.bytes.len(), |n| self.at + n);
                }
                // A line that begins with `#` is a directive to the client.
                b'#' if self.source[..self.at].rsplit('\n').next().is_some_and(|line| line.trim().is_empty()) => {
                    if self.bytes.get(self.at + 1).is_some_and(|next| !next.is_ascii_alphabetic()) {
                        let span = Span::new(self.at, self.at + 1);
                        self.diagnostics.push(Diagnostic::semantic(codes::UNKNOWN_DIRECTIVE, "unknown directive", span).label("a comment begins with `//`"));
                    }
                    self.at = self.source[self.at..].find(['\n', '\r']).map_or(self.bytes.len(), |n| self.at + n);
                }
                byte if byte >= 0x80 => match self.wide().filter(|c| is_wide_space(*c)) {
                    Some(space) => self.at += space.len_utf8(),
                    None => return,
                },
                _ => return,
            }
        }
    }

    fn next_token(&mut self) -> Token {
        if self.at >= self.bytes.len() {
            return Token::End;
        }
        let byte = self.peek(0);
        match byte {
            b'"' | b'\'' => self.string(self.at),
            b'@' if matches!(self.peek(1), b'"' | b'\'') => self.string(self.at),
            b'`' if self.source[self.at..].starts_with("```") => self.fenced("```"),
            b'~' if self.source[self.at..].starts_with("~~~") => self.fenced("~~~"),
            b'0'..=b'9' => self.number(),
            b'!' if self.peek(1).is_ascii_alphabetic() => {
                self.at += 1;
                self.take_name();
                if self.peek(0) == b'~' && self.source[..self.at].ends_with("!in") {
                    self.at += 1;
                }
                Token::BangName
            }
            byte if is_name_start(byte) => self.name(),
            _ => self.punctuation(byte),
        }
    }

    /// The character here, when it is none of ASCII.
    fn wide(&self) -> Option<char> {
        self.source[self.at..].chars().next().filter(|c| !c.is_ascii())
    }

    fn take_name(&mut self) {
        while is_name_part(self.peek(0)) {
            match self.wide() {
                Some(c) if is_wide_space(c) => return,
                Some(c) => self.at += c.len_utf8(),
                None => self.at += 1,
            }
        }
    }

    fn name(&mut self) -> Token {
        let start = self.at;
        self.at += usize::from(self.peek(0).is_ascii());
        self.take_name();
        let name = &self.source[start..self.at];
        if matches!(name, "h" | "H") && matches!((self.peek(0), self.peek(1)), (b'"' | b'\'', _) | (b'@', b'"' | b'\'')) {
            return self.string(self.at);
        }
        if matches!(name, "h" | "H") && self.source[self.at..].starts_with("```") {
            return self.fenced("```");
        }
        if name == "in" && self.peek(0) == b'~' {
            self.at += 1;
            return Token::Name;
        }
        match ScalarType::from_name(name) {
            Some(ty) if !matches!(ty, ScalarType::String | ScalarType::Dynamic) => self.typed_literal(ty),
            _ => Token::Name,
        }
    }

    /// `datetime( … )` is one token up to the closing parenthesis; without parentheses it is a name.
    fn typed_literal(&mut self, ty: ScalarType) -> Token {
        let mut at = self.at;
        while matches!(self.bytes.get(at), Some(b' ' | b'\t')) {
            at += 1;
        }
        if self.bytes.get(at) != Some(&b'(') {
            return Token::Name;
        }
        match self.source[at..].find([')', '\n']) {
            Some(close) if self.bytes[at + close] == b')' => {
                self.at = at + close + 1;
                Token::Typed(ty)
            }
            _ => Token::Name,
        }
    }

    fn number(&mut self) -> Token {
        if self.peek(0) == b'0' && matches!(self.peek(1), b'x' | b'X') && self.peek(2).is_ascii_hexdigit() {
            self.at += 2;
            while self.peek(0).is_ascii_hexdigit() {
                self.at += 1;
            }
            return Token::Long;
        }
        self.digits();
        // A name may begin with digits (`3Dchart`, `['1st']` without brackets in old queries).
        let mut real = false;
        if self.peek(0) == b'.' && self.peek(1) != b'.' && !is_name_start(self.peek(1)) {
            real = true;
            self.at += 1;
            self.digits();
        }
        let exponent = usize::from(matches!(self.peek(1), b'+' | b'-'));
        if matches!(self.peek(0), b'e' | b'E') && self.peek(1 + exponent).is_ascii_digit() {
            self.at += 1 + exponent;
            self.digits();
            return Token::Real;
        }
        if self.peek(0).is_ascii_alphabetic() || self.peek(0) == b'_' {
            let number_end = self.at;
            self.take_name();
            let suffix = &self.source[number_end..self.at];
            if TIMESPAN_UNITS.iter().any(|(unit, _)| *unit == suffix) {
                return Token::TimeSpan;
            }
            if !real {
                return Token::Name;
            }
            self.at = number_end;
        }
        if real { Token::Real } else { Token::Long }
    }

    fn digits(&mut self) {
        while self.peek(0).is_ascii_digit() {
            self.at += 1;
        }
    }

    /// From an opening quote or `@` to the closing quote, which must stand on the same line.
    fn string(&mut self, start: usize) -> Token {
        let verbatim = self.peek(0) == b'@';
        self.at += usize::from(verbatim);
        let quote = self.peek(0);
        self.at += 1;
        loop {
            let byte = self.peek(0);
            if self.at >= self.bytes.len() || matches!(byte, b'\n' | b'\r') {
                let missing = format!("missing: {}", quote as char);
                self.at = self.at.min(self.bytes.len());
                let span = Span::new(start, self.at);
                self.diagnostics.push(Diagnostic::error(codes::MISSING_TEXT, missing, span).label("string literal without its closing quote"));
                return Token::String;
            }
            let escaped = if verbatim { byte == quote && self.peek(1) == quote } else { byte == b'\\' };
            let newline_next = matches!(self.peek(1), b'\n' | b'\r');
            self.at += if escaped && !newline_next { 2 } else { 1 };
            if byte == quote && !escaped {
                return Token::String;
            }
        }
    }

    fn fenced(&mut self, fence: &str) -> Token {
        let start = self.at;
        match self.source[self.at + 3..].find(fence) {
            Some(length) => self.at += 3 + length + 3,
            None => {
                self.at = self.bytes.len();
                let span = Span::new(start, start + 3);
                let missing = format!("missing: {fence}");
                self.diagnostics.push(Diagnostic::error(codes::MISSING_TEXT, missing, span).label("multi-line string literal without its end"));
            }
        }
        Token::String
    }

    fn punctuation(&mut self, byte: u8) -> Token {
        let (token, length) = match (byte, self.peek(1)) {
            (b'|', _) => (Token::Pipe, 1),
            (b'.', b'.') => (Token::DotDot, 2),
            (b'.', _) => (Token::Dot, 1),
            (b',', _) => (Token::Comma, 1),
            (b';', _) => (Token::Semicolon, 1),
            (b':', _) => (Token::Colon, 1),
            (b'=', b'=') => (Token::Equal, 2),
            (b'=', b'~') => (Token::EqualTilde, 2),
            (b'=', b'>') => (Token::Arrow, 2),
            (b'=', _) => (Token::Assign, 1),
            (b'!', b'=') => (Token::NotEqual, 2),
            (b'!', b'~') => (Token::NotTilde, 2),
            (b'<', b'>') => (Token::NotEqual, 2),
            (b'<', b'=') => (Token::LessEqual, 2),
            (b'<', _) => (Token::Less, 1),
            (b'>', b'=') => (Token::GreaterEqual, 2),
            (b'>', _) => (Token::Greater, 1),
            (b'(', _) => (Token::OpenParen, 1),
            (b')', _) => (Token::CloseParen, 1),
            (b'[', _) => (Token::OpenBracket, 1),
            (b']', _) => (Token::CloseBracket, 1),
            (b'{', _) => (Token::OpenBrace, 1),
            (b'}', _) => (Token::CloseBrace, 1),
            (b'+', _) => (Token::Plus, 1),
            (b'-', _) => (Token::Minus, 1),
            (b'*', _) => (Token::Star, 1),
            (b'/', _) => (Token::Slash, 1),
            (b'%', _) => (Token::Percent, 1),
            (b'~', _) => (Token::Tilde, 1),
            (b'?', _) => (Token::Question, 1),
            (b'@', _) => (Token::At, 1),
            _ => (Token::Unknown, 1),
        };
        self.at += length;
        token
    }
}

/// The value of a string token: quotes removed, escapes resolved. `None` after an unknown escape.
/// Kusto docs: `scalar-data-types/string`.
pub fn string_value(text: &str) -> Option<String> {
    let text = text.strip_prefix(['h', 'H']).unwrap_or(text);
    for fence in ["```", "~~~"] {
        if let Some(body) = text.strip_prefix(fence) {
            return Some(body.strip_suffix(fence).unwrap_or(body).to_owned());
        }
    }
    if let Some(body) = text.strip_prefix('@') {
        let quote = body.chars().next()?;
        let inner = body[1..].strip_suffix(quote).unwrap_or(&body[1..]);
        return Some(inner.replace(&format!("{quote}{quote}"), &quote.to_string()));
    }
    let quote = text.chars().next()?;
    let body = text[1..].strip_suffix(quote).unwrap_or(&text[1..]);
    if !body.contains('\\') {
        return Some(body.to_owned());
    }
    unescape(body)
}

fn unescape(body: &str) -> Option<String> {
    let mut out = String::with_capacity(body.len());
    let mut rest = body.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let escape = rest.next()?;
        match escape {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'a' => out.push('\x07'),
            'b' => out.push('\x08'),
            'f' => out.push('\x0c'),
            'v' => out.push('\x0b'),
            '\\' | '"' | '\'' => out.push(escape),
            'x' | 'u' | 'U' => {
                let digits = match escape {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                let hex: String = rest.by_ref().take(digits).collect();
                let mut code = u32::from_str_radix(&hex, 16).ok()?;
                if (0xd800..0xdc00).contains(&code) && rest.as_str().starts_with("\\u") {
                    let low = u32::from_str_radix(rest.as_str().get(2..6)?, 16).ok()?;
                    rest.by_ref().take(6).for_each(drop);
                    code = 0x10000 + ((code - 0xd800) << 10) + low.wrapping_sub(0xdc00);
                }
                out.push(char::from_u32(code)?);
            }
            '0'..='7' => {
                let mut code = escape.to_digit(8)?;
                for _ in 0..2 {
                    let Some(digit) = rest.as_str().chars().next().and_then(|c| c.to_digit(8)) else { break };
                    code = code * 8 + digit;
                    rest.next();
                }
                out.push(char::from_u32(code)?);
            }
            _ => return None,
        }
    }
    Some(out)
}
