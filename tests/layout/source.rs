// SPDX-License-Identifier: MPL-2.0
//! Just enough of Rust's syntax to see which modules a file names.

/// A file of `src/`, as the rules look at it.
pub(crate) struct Source {
    /// Below `src/`: `video/walk/mod.rs`.
    pub(crate) path: String,
    /// Without comments, strings and the modules under `#[cfg(test)]`.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            code: without_tests(&without_comments(text)),
        }
    }

    /// The module that the file is: `["video", "walk"]`.
    pub(crate) fn module(&self) -> Vec<String> {
        let path = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let path = path.strip_suffix("/mod").unwrap_or(path);
        if matches!(path, "lib" | "main") {
            return Vec::new();
        }
        path.split('/').map(str::to_owned).collect()
    }

    /// Whether it declares others: a `mod.rs`.
    pub(crate) fn is_parent(&self) -> bool {
        self.path.ends_with("/mod.rs")
    }

    /// A module of tests, in a file of its own.
    pub(crate) fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs")
    }

    /// All paths that start with `crate`, `super` or `self`, from the crate's root on.
    pub(crate) fn paths(&self) -> Vec<Vec<String>> {
        let module = self.module();
        let absolute = |path: Vec<String>| {
            let mut found = module.clone();
            let mut words = path.into_iter().peekable();
            match words.next().as_deref() {
                Some("crate") => found.clear(),
                Some("super") => drop(found.pop()),
                _ => {}
            }
            while words.next_if(|word| word == "super").is_some() {
                found.pop();
            }
            found.extend(words);
            found
        };
        let starts = |word: &str| matches!(word, "crate" | "super" | "self");
        paths(&self.code, starts)
            .into_iter()
            .map(|path| absolute(path.into_iter().map(|(word, _)| word).collect()))
            .collect()
    }

    /// What a `mod.rs` hands out of its children: (name, child).
    pub(crate) fn reexports(&self) -> Vec<(String, String)> {
        let uses = self.code.split(';').filter_map(|statement| {
            let at = statement.find("pub ").or(statement.find("pub("))?;
            let (_, tree) = statement[at..].split_once("use ")?;
            Some(tree)
        });
        let mut found = Vec::new();
        for tree in uses {
            for path in paths(tree, |_| true) {
                if let [(child, _), .., (_, name)] = path.as_slice() {
                    found.push((name.clone(), child.clone()));
                }
            }
        }
        found
    }
}

/// Comments, and what is in strings, as blanks; lines stay.
fn without_comments(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let blank = |out: &mut String, part: &str| {
        out.extend(part.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
    };
    while at < bytes.len() {
        let rest = &text[at..];
        let follows_a_word =
            at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) =
            string(rest).filter(|_| !follows_a_word || rest.starts_with('"'))
        {
            length
        } else if let Some(length) = character(rest) {
            length
        } else {
            let next = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(&rest[..next]);
            at += next;
            continue;
        };
        blank(&mut out, &rest[..length]);
        at += length;
    }
    out
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of the string that the text starts with, its `r#`, `b` or `c` included.
fn string(text: &str) -> Option<usize> {
    let quote = text.find('"')?;
    let before = &text[..quote];
    let raw = before.trim_end_matches('#');
    let hashes = before.len() - raw.len();
    match raw {
        "r" | "br" | "cr" => {
            let end = format!("\"{}", "#".repeat(hashes));
            let length = text[quote + 1..].find(&end)?;
            Some(quote + 1 + length + end.len())
        }
        "" | "b" | "c" if hashes == 0 => {
            let mut escaped = false;
            for (at, c) in text[quote + 1..].char_indices() {
                match c {
                    '"' if !escaped => return Some(quote + 1 + at + 1),
                    '\\' => escaped = !escaped,
                    _ => escaped = false,
                }
            }
            Some(text.len())
        }
        _ => None,
    }
}

/// The length of the character that the text starts with; a lifetime is none.
fn character(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('\'')?;
    if inner.starts_with('\\') {
        return inner[2..].find('\'').map(|at| at + 4);
    }
    let length = inner.chars().next()?.len_utf8();
    inner[length..].starts_with('\'').then_some(length + 2)
}

/// Without the modules under `#[cfg(test)]`: a test may name what it likes.
fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let (Some(open), semicolon) = (from.find('{'), from.find(';')) else {
            return out;
        };
        let end = if semicolon.is_some_and(|semicolon| semicolon < open) {
            semicolon.unwrap_or_default() + 1
        } else {
            open + block(&from[open..])
        };
        rest = &from[end..];
    }
    out + rest
}

fn block(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

/// A path's words, each with the name that it has here (`as`).
type Path = Vec<(String, String)>;

/// The paths of more than one word whose first word is wanted, those of `{…}` one by one.
fn paths(code: &str, starts: impl Fn(&str) -> bool) -> Vec<Path> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let first = at == 0 || tokens[at - 1] != "::";
        if first && is_word(tokens[at]) && starts(tokens[at]) && tokens.get(at + 1) == Some(&"::") {
            at = tree(&tokens, at, &Vec::new(), &mut found);
        } else {
            at += 1;
        }
    }
    found
}

fn tree(tokens: &[&str], mut at: usize, prefix: &Path, found: &mut Vec<Path>) -> usize {
    let mut path = prefix.clone();
    loop {
        match tokens.get(at) {
            Some(&"{") => {
                at += 1;
                while tokens.get(at).is_some_and(|token| *token != "}") {
                    let next = tree(tokens, at, &path, found);
                    // Nothing that a tree is made of: not a tree, then.
                    at = if next == at { at + 1 } else { next };
                    if tokens.get(at) == Some(&",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            Some(&"self") if !path.is_empty() => at += 1,
            Some(word) if is_word(word) => {
                path.push((word.to_string(), word.to_string()));
                at += 1;
            }
            _ => break,
        }
        if tokens.get(at) != Some(&"::") {
            break;
        }
        at += 1;
    }
    if let [Some(&"as"), Some(name)] = [tokens.get(at), tokens.get(at + 1)] {
        if let Some(last) = path.last_mut() {
            last.1 = name.to_string();
        }
        at += 2;
    }
    found.push(path);
    at
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn tokens(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let length = if rest.starts_with("::") {
            2
        } else if is_part(first) {
            rest.find(|c| !is_part(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        if !first.is_whitespace() {
            found.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    found
}
