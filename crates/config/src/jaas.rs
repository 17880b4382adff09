//! `sasl.jaas.config`: one entry, `class flag *( key "=" value ) ";"`.
//!
//! Words, quotes, escapes and comments as Kafka's tokenizer reads them. Errors say where and what, never the text, which holds
//! passwords.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use crate::secret::Secret;
use crate::upstream::SaslMechanism;

/// The one entry of a JAAS text, typed by its login module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Jaas {
    /// `org.apache.kafka.common.security.plain.PlainLoginModule`.
    Plain {
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
    /// `org.apache.kafka.common.security.scram.ScramLoginModule`.
    Scram {
        /// User name, or the id of a delegation token.
        username: String,
        /// Password, or the HMAC of a delegation token.
        password: Secret,
        /// Whether the pair is a delegation token (KIP-48).
        token_auth: bool,
    },
    /// `org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule`.
    OAuthBearer {
        /// `clientId`.
        client_id: Option<String>,
        /// `clientSecret`.
        client_secret: Option<Secret>,
        /// `scope`.
        scope: Option<String>,
        /// `extension_<name>`, without the prefix, in order of name.
        extensions: Vec<(String, String)>,
        /// `unsecuredLogin...` options, in order of name: tokens without a signature, for development.
        unsecured: Vec<(String, String)>,
    },
}

/// Why a JAAS text is not usable. Holds nothing of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JaasError {
    /// Another character was expected.
    #[error("{expected} at character {position}")]
    Syntax {
        /// What should stand there.
        expected: &'static str,
        /// Counted from 1.
        position: usize,
    },
    /// The login module does not fit the mechanism.
    #[error("the login module {module} for mechanism {mechanism}")]
    Module {
        /// The one that fits.
        module: &'static str,
        /// As configured.
        mechanism: SaslMechanism,
    },
    /// An option is missing or wrong.
    #[error("{expected}")]
    Option {
        /// What is needed.
        expected: &'static str,
    },
}

impl Jaas {
    /// Reads the JAAS text that goes with `mechanism`.
    ///
    /// # Errors
    /// [`JaasError`], as "expected ...".
    pub fn parse(text: &str, mechanism: SaslMechanism) -> Result<Self, JaasError> {
        let Entry {
            module,
            mut options,
        } = entry(text)?;
        let wanted = module_of(mechanism);
        if module != wanted {
            return Err(JaasError::Module {
                module: wanted,
                mechanism,
            });
        }
        let mut needed = |key, expected| {
            options
                .remove(key)
                .filter(|value: &String| !value.is_empty())
                .ok_or(JaasError::Option { expected })
        };
        match mechanism {
            SaslMechanism::Plain => Ok(Self::Plain {
                username: needed("username", "the option username")?,
                password: Secret::new(needed("password", "the option password")?),
            }),
            SaslMechanism::ScramSha256 | SaslMechanism::ScramSha512 => Ok(Self::Scram {
                username: needed("username", "the option username")?,
                password: Secret::new(needed("password", "the option password")?),
                token_auth: match options.remove("tokenauth").as_deref() {
                    None => false,
                    Some(word) if word.eq_ignore_ascii_case("false") => false,
                    Some(word) if word.eq_ignore_ascii_case("true") => true,
                    Some(_) => {
                        return Err(JaasError::Option {
                            expected: "true or false as the option tokenauth",
                        });
                    }
                },
            }),
            SaslMechanism::OAuthBearer => Ok(Self::OAuthBearer {
                client_id: options.remove("clientId"),
                client_secret: options.remove("clientSecret").map(Secret::new),
                scope: options.remove("scope"),
                extensions: extensions(&options)?,
                unsecured: options
                    .into_iter()
                    .filter(|(key, _)| key.starts_with("unsecuredLogin"))
                    .collect(),
            }),
        }
    }
}

fn module_of(mechanism: SaslMechanism) -> &'static str {
    match mechanism {
        SaslMechanism::Plain => "org.apache.kafka.common.security.plain.PlainLoginModule",
        SaslMechanism::ScramSha256 | SaslMechanism::ScramSha512 => {
            "org.apache.kafka.common.security.scram.ScramLoginModule"
        }
        SaslMechanism::OAuthBearer => {
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
        }
    }
}

/// Names are letters; `auth` is reserved (RFC 7628 3.1); values are printable or white space.
fn extensions(options: &BTreeMap<String, String>) -> Result<Vec<(String, String)>, JaasError> {
    let mut found = Vec::new();
    for (key, value) in options {
        let Some(name) = key.strip_prefix("extension_") else {
            continue;
        };
        if name.is_empty() || name == "auth" || !name.bytes().all(|b| b.is_ascii_alphabetic()) {
            return Err(JaasError::Option {
                expected: "letters, but not auth, after extension_ in option names",
            });
        }
        if !value
            .bytes()
            .all(|b| (0x20..0x7f).contains(&b) || matches!(b, b'\t' | b'\r' | b'\n'))
        {
            return Err(JaasError::Option {
                expected: "printable ASCII characters as the value of an extension",
            });
        }
        found.push((name.to_owned(), value.clone()));
    }
    Ok(found)
}

struct Entry {
    module: String,
    options: BTreeMap<String, String>,
}

fn entry(text: &str) -> Result<Entry, JaasError> {
    let mut tokens = Tokens {
        chars: text.chars().peekable(),
        position: 1,
    };
    let module = tokens.word("the class name of a login module")?;
    let flag = tokens.word("a flag (required, requisite, sufficient, optional)")?;
    if !["required", "requisite", "sufficient", "optional"]
        .iter()
        .any(|word| flag.eq_ignore_ascii_case(word))
    {
        return tokens.fail("a flag (required, requisite, sufficient, optional) before this place");
    }
    let mut options = BTreeMap::new();
    loop {
        match tokens.next()? {
            Token::Semicolon => break,
            Token::Word(key) => {
                if tokens.next()? != Token::Equals {
                    return tokens.fail("'=' after the name of an option, before this place");
                }
                options.insert(key, tokens.word("the value of an option")?);
            }
            Token::Equals => {
                return tokens.fail("the name of an option before '=', before this place");
            }
            Token::End => return tokens.fail("a final ';'"),
        }
    }
    match tokens.next()? {
        Token::End => Ok(Entry { module, options }),
        Token::Word(_) | Token::Equals | Token::Semicolon => {
            tokens.fail("exactly one entry, so nothing after ';',")
        }
    }
}

#[derive(PartialEq, Eq)]
enum Token {
    Word(String),
    Equals,
    Semicolon,
    End,
}

struct Tokens<'a> {
    chars: Peekable<Chars<'a>>,
    position: usize,
}

impl Tokens<'_> {
    fn word(&mut self, expected: &'static str) -> Result<String, JaasError> {
        match self.next()? {
            Token::Word(word) => Ok(word),
            Token::Equals | Token::Semicolon | Token::End => self.fail(expected),
        }
    }

    fn next(&mut self) -> Result<Token, JaasError> {
        loop {
            match self.peek() {
                None => return Ok(Token::End),
                Some(c) if c <= ' ' => {
                    self.bump();
                }
                Some('/') => self.comment()?,
                Some('=') => {
                    self.bump();
                    return Ok(Token::Equals);
                }
                Some(';') => {
                    self.bump();
                    return Ok(Token::Semicolon);
                }
                Some(quote @ ('"' | '\'')) => return self.quoted(quote).map(Token::Word),
                Some('\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{2018}' | '\u{2019}') => {
                    return self.fail("straight quotes (\" or ') instead of typographic ones");
                }
                Some(c) if is_word(c) => return Ok(Token::Word(self.bare())),
                Some(_) => return self.fail("a word, a quoted value, '=' or ';'"),
            }
        }
    }

    fn bare(&mut self) -> String {
        let mut word = String::new();
        while let Some(c) = self.peek().filter(|c| is_word(*c)) {
            word.push(c);
            self.bump();
        }
        word
    }

    fn quoted(&mut self, quote: char) -> Result<String, JaasError> {
        self.bump();
        let mut value = String::new();
        loop {
            match self.bump() {
                Some(c) if c == quote => return Ok(value),
                Some('\\') => match self.bump() {
                    Some(digit @ '0'..='7') => value.push(self.octal(digit)),
                    Some('a') => value.push('\x07'),
                    Some('b') => value.push('\x08'),
                    Some('f') => value.push('\x0c'),
                    Some('n') => value.push('\n'),
                    Some('r') => value.push('\r'),
                    Some('t') => value.push('\t'),
                    Some('v') => value.push('\x0b'),
                    Some(c) => value.push(c),
                    None => return self.fail("a closing quote"),
                },
                None | Some('\n' | '\r') => return self.fail("a closing quote before this place"),
                Some(c) => value.push(c),
            }
        }
    }

    /// Up to three octal digits, the first one not above 3 if there are three, so that the value fits a byte.
    fn octal(&mut self, first: char) -> char {
        let mut value = first.to_digit(8).unwrap_or(0);
        let longest = if first <= '3' { 2 } else { 1 };
        for _ in 0..longest {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else {
                break;
            };
            value = value * 8 + digit;
            self.bump();
        }
        char::from_u32(value).unwrap_or('\0')
    }

    fn comment(&mut self) -> Result<(), JaasError> {
        self.bump();
        match self.peek() {
            Some('/') => {
                while self.bump().is_some_and(|c| c != '\n' && c != '\r') {}
                Ok(())
            }
            Some('*') => {
                self.bump();
                let mut star = false;
                loop {
                    match self.bump() {
                        Some('/') if star => return Ok(()),
                        Some(c) => star = c == '*',
                        None => return self.fail("*/ before the end"),
                    }
                }
            }
            _ => self.fail("quotes around a value with '/', before this place"),
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().copied()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.chars.next();
        self.position += usize::from(c.is_some());
        c
    }

    fn fail<T>(&self, expected: &'static str) -> Result<T, JaasError> {
        Err(JaasError::Syntax {
            expected,
            position: self.position,
        })
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(c, '.' | '-' | '_' | '$')
        || (c >= '\u{a0}' && !matches!(c, '\u{2018}'..='\u{201f}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";

    fn plain(options: &str) -> Result<(String, String), JaasError> {
        match Jaas::parse(&format!("{PLAIN} required {options}"), SaslMechanism::Plain)? {
            Jaas::Plain { username, password } => Ok((username, password.expose().to_owned())),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values() {
        for (options, username, password) in [
            (r#"username="u" password="p";"#, "u", "p"),
            ("username='u' password='p';", "u", "p"),
            ("username=u-1.x_$ password=p ;", "u-1.x_$", "p"),
            ("username = \"u\"\n  password\t=\"p\"\n;\n", "u", "p"),
            (
                r#"username="a=b,c;d" password="say \"hi\" \\ 'x'";"#,
                "a=b,c;d",
                r#"say "hi" \ 'x'"#,
            ),
            (r#"username="\101\n" password='\8\7';"#, "A\n", "8\u{7}"),
            ("/* c; */ username=u // rest\n password=p; // end", "u", "p"),
            ("username=u username=v password=p;", "v", "p"),
            ("username=\u{fc} password=1234;", "\u{fc}", "1234"),
        ] {
            assert_eq!(
                plain(options),
                Ok((username.into(), password.into())),
                "{options}"
            );
        }
    }

    #[test]
    fn flags_in_any_case() {
        for flag in ["required", "REQUISITE", "Sufficient", "optional"] {
            let text = format!("{PLAIN} {flag} username=u password=p;");
            assert!(Jaas::parse(&text, SaslMechanism::Plain).is_ok(), "{flag}");
        }
    }

    #[test]
    fn errors_say_what_and_never_show_the_text() {
        for (text, part) in [
            (String::new(), "class name"),
            (
                format!("{PLAIN} username=\"hunter2\" password=\"hunter2\";"),
                "flag",
            ),
            (
                format!("{PLAIN} required username=u password=hunter2"),
                "final ';'",
            ),
            (
                format!("{PLAIN} required username=u password=;"),
                "value of an option",
            ),
            (
                format!("{PLAIN} required username=u password hunter2;"),
                "'=' after",
            ),
            (
                format!("{PLAIN} required username=u password=\"hunter2;"),
                "closing quote",
            ),
            (
                format!("{PLAIN} required username=u password=\u{201c}hunter2\u{201d};"),
                "straight quotes",
            ),
            (
                format!("{PLAIN} required username=u password=hun/ter2;"),
                "quotes around",
            ),
            (format!("{PLAIN} required username=u /* hunter2"), "*/"),
            (
                format!("{PLAIN} required username=u password=hunter2; {PLAIN} required;"),
                "exactly one entry",
            ),
            (
                format!("{PLAIN} required username=hunter2;"),
                "option password",
            ),
            (
                format!("{PLAIN} required password=hunter2;"),
                "option username",
            ),
            (
                format!("{PLAIN} required username=u password=hun{{ter2;"),
                "a word",
            ),
            ("org.example.hunter2 required;".to_owned(), PLAIN),
        ] {
            let message = Jaas::parse(&text, SaslMechanism::Plain)
                .expect_err(&text)
                .to_string();
            assert!(message.contains(part), "{text}: {message}");
            assert!(
                !message.contains("hunter2") && !message.contains("ter2"),
                "{message}"
            );
        }
    }

    #[test]
    fn scram_with_a_delegation_token() {
        let text = "org.apache.kafka.common.security.scram.ScramLoginModule required username=id password=hmac tokenauth=true;";
        let parsed = Jaas::parse(text, SaslMechanism::ScramSha512).expect("well-formed");
        assert!(matches!(
            parsed,
            Jaas::Scram {
                token_auth: true,
                ..
            }
        ));
        let wrong = text.replace("true", "yes");
        assert!(Jaas::parse(&wrong, SaslMechanism::ScramSha512).is_err());
    }

    #[test]
    fn oauth_options() {
        let module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";
        let text = format!(
            "{module} required clientId=id clientSecret='s' scope=\"a b\" extension_pool='p-1' \
             unsecuredLoginStringClaim_sub=me;"
        );
        let Ok(Jaas::OAuthBearer {
            client_id,
            client_secret,
            scope,
            extensions,
            unsecured,
        }) = Jaas::parse(&text, SaslMechanism::OAuthBearer)
        else {
            panic!("not parsed");
        };
        assert_eq!(client_id.as_deref(), Some("id"));
        assert_eq!(client_secret.as_ref().map(Secret::expose), Some("s"));
        assert_eq!(scope.as_deref(), Some("a b"));
        assert_eq!(extensions, [("pool".to_owned(), "p-1".to_owned())]);
        assert_eq!(
            unsecured,
            [("unsecuredLoginStringClaim_sub".to_owned(), "me".to_owned())]
        );
        for bad in [
            "extension_auth=x",
            "extension_=x",
            "extension_a1=x",
            "extension_a=\u{fc}",
        ] {
            assert!(
                Jaas::parse(
                    &format!("{module} required {bad};"),
                    SaslMechanism::OAuthBearer
                )
                .is_err(),
                "{bad}"
            );
        }
    }
}
