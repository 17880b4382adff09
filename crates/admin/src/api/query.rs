//! Query parameters.

use percent_encoding::percent_decode_str;

use crate::error::ApiError;

/// The parameters of a request. Unknown ones are ignored; of one that is given twice the first counts.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let decoded = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        let pairs = query.unwrap_or_default().split('&').map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        Self(pairs.collect())
    }

    /// The value to filter by; an empty one is none.
    pub(crate) fn filter(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(found, _)| found == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// `true` or `false` in any letter case, `false` if it is not given.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.filter(name) {
            None => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(_) => Err(ApiError::invalid(format!(
                "Parameter '{name}' must be true or false."
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let query = Query::parse(Some("a=x%20y+z&a=2&empty=&flag=TRUE&no=no&%62=%ff&&bare"));
        assert_eq!(query.filter("a"), Some("x y z"));
        assert_eq!(query.filter("b"), Some("\u{fffd}"));
        assert_eq!((query.filter("empty"), query.filter("bare")), (None, None));
        assert_eq!(query.flag("flag"), Ok(true));
        assert_eq!(
            (query.flag("empty"), query.flag("missing")),
            (Ok(false), Ok(false))
        );
        assert!(query.flag("no").is_err());
        assert_eq!(Query::parse(None).filter("a"), None);
    }
}
