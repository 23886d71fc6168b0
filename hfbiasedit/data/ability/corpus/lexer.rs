use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    Number(f64),
    Ident(String),
    Text(String),
    Symbol(char),
}

#[derive(Debug, PartialEq)]
pub struct LexError {
    pub line: usize,
    pub message: String,
}

impl fmt::Display for LexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for LexError {}

pub struct Lexer<'a> {
    chars: Peekable<Chars<'a>>,
    line: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(source: &'a str) -> Self {
        Lexer { chars: source.chars().peekable(), line: 1 }
    }

    fn take_while<F: Fn(char) -> bool>(&mut self, keep: F) -> String {
        let mut out = String::new();
        while let Some(&c) = self.chars.peek() {
            if !keep(c) {
                break;
            }
            out.push(c);
            self.chars.next();
        }
        out
    }

    fn text(&mut self) -> Result<Token, LexError> {
        self.chars.next();
        let mut out = String::new();
        loop {
            match self.chars.next() {
                Some('"') => return Ok(Token::Text(out)),
                Some('\\') => out.extend(self.chars.next()),
                Some('\n') | None => {
                    return Err(LexError { line: self.line, message: "unterminated text".into() })
                }
                Some(c) => out.push(c),
            }
        }
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Result<Token, LexError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let c = *self.chars.peek()?;
            match c {
                '\n' => {
                    self.line += 1;
                    self.chars.next();
                }
                c if c.is_whitespace() => {
                    self.chars.next();
                }
                '"' => return Some(self.text()),
                c if c.is_ascii_digit() => {
                    let digits = self.take_while(|c| c.is_ascii_digit() || c == '.');
                    let value = digits.parse().map_err(|_| LexError {
                        line: self.line,
                        message: format!("bad number {digits}"),
                    });
                    return Some(value.map(Token::Number));
                }
                c if c.is_alphabetic() || c == '_' => {
                    return Some(Ok(Token::Ident(self.take_while(|c| c.is_alphanumeric() || c == '_'))));
                }
                _ => {
                    self.chars.next();
                    return Some(Ok(Token::Symbol(c)));
                }
            }
        }
    }
}
