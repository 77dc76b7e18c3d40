//! What stands where a row and a column meet.

/// A cell of a table, whatever the table is written in.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing: no value, or a column that the row lacks.
    Empty,
    /// Text that is more than space.
    Text(String),
    /// A number, as it is written.
    Number(String),
    /// Several cells.
    List(Vec<Cell>),
    /// Something of no use as a name or caption, in words.
    Other(&'static str),
}

impl Cell {
    /// A cell of text; blank text is none.
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        if text.trim().is_empty() { Self::Empty } else { Self::Text(text) }
    }

    /// A floating-point number; a whole one is written as such, since tables widen columns of whole numbers that
    /// have gaps.
    pub fn float(number: f64) -> Self {
        /// Beyond this a double no longer tells neighbours apart.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match number {
            n if n.is_nan() => Self::Empty,
            n if n.fract() == 0.0 && n.abs() < EXACT => Self::Number((n as i64).to_string()),
            n => Self::Number(n.to_string()),
        }
    }

    /// The cell of a JSON value.
    pub fn json(value: serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Empty,
            Value::String(text) => Self::text(text),
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(number) => Self::float(number),
                None => Self::Number(number.to_string()),
            },
            Value::Array(items) => Self::List(items.into_iter().map(Self::json).collect()),
            Value::Bool(_) => Self::Other("true or false"),
            Value::Object(_) => Self::Other("an object"),
        }
    }

    /// The texts of a cell of captions, none if it is empty; or what stands there instead.
    pub fn captions(&self) -> Result<Vec<String>, String> {
        match self {
            Self::Empty => Ok(Vec::new()),
            Self::Text(text) => Ok(vec![text.trim().to_owned()]),
            Self::Number(number) => Err(format!("the number {number}")),
            Self::Other(what) => Err((*what).to_owned()),
            Self::List(items) => {
                let lists = items.iter().map(Self::captions).collect::<Result<Vec<_>, _>>();
                lists.map(|lists| lists.concat()).map_err(|what| format!("a list with {what}"))
            }
        }
    }
}
