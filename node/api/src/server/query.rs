//! Query strings, checked by name: an unknown or repeated parameter is refused, never ignored. A typing error in
//! `epochs` must not store for one epoch.

use crate::problem::Problem;
use std::collections::BTreeMap;
use std::str::FromStr;

/// The longest query string in bytes.
const QUERY_BYTES_MAX: usize = 4 << 10;

/// A query whose names are all known.
#[derive(Debug)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    /// The query of `text`, in which only names of `known` may stand, each once.
    pub(super) fn parse(text: &str, known: &[&str]) -> Result<Query, Problem> {
        if text.len() > QUERY_BYTES_MAX {
            return Err(Problem::bad_request("query", format!("the query is longer than {QUERY_BYTES_MAX} bytes")));
        }
        let pairs = actix_web::web::Query::<Vec<(String, String)>>::from_query(text)
            .map_err(|_| Problem::bad_request("query", "the query is not a list of name=value"))?;
        let mut query = BTreeMap::new();
        for (name, value) in pairs.into_inner() {
            if !known.contains(&name.as_str()) {
                let takes = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let shown: String = name.escape_debug().take(64).collect();
                let detail = format!("unknown parameter {shown}; this route takes: {takes}");
                return Err(Problem::bad_request(&name, detail));
            }
            if query.insert(name.clone(), value).is_some() {
                return Err(Problem::bad_request(&name, format!("parameter {name} is given twice")));
            }
        }
        Ok(Query(query))
    }

    /// The text of a parameter.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter read as `T`; `expected` says what it should have been.
    pub(super) fn value<T: FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>, Problem> {
        let read =
            |text: &str| text.parse().map_err(|_| Problem::bad_request(name, format!("{name} must be {expected}")));
        self.text(name).map(read).transpose()
    }

    /// A switch: absent is off; present without a value, or as `true`, is on.
    pub(super) fn switch(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(_) => Err(Problem::bad_request(name, format!("{name} must be true or false"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_or_repeated_is_named() {
        let known = ["epochs", "force"];
        let query = Query::parse("epochs=3&force", &known).unwrap();
        assert_eq!(query.value::<u64>("epochs", "a number").unwrap(), Some(3));
        assert!(query.switch("force").unwrap());
        for (text, name) in [("epoch=3", "epoch"), ("epochs=1&epochs=2", "epochs"), ("%00=1", "\\0")] {
            assert_eq!(Query::parse(text, &known).unwrap_err().facts.name.as_deref(), Some(name), "{text}");
        }
        let query = Query::parse("epochs=-1&force=maybe", &known).unwrap();
        assert!(query.value::<u64>("epochs", "a number").is_err());
        assert!(query.switch("force").is_err());
        assert!(Query::parse(&"a".repeat(QUERY_BYTES_MAX + 1), &known).is_err());
    }
}
