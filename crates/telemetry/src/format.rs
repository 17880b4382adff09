//! The two forms of a log line.

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::time_format::TimeFormat;

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `time LEVEL [thread] target - message field=value`, fields of surrounding spans last.
    Pattern,
    /// An object with `timestamp`, `level`, `thread`, `loggerName`, `message`, then the fields, then `context` with those of
    /// surrounding spans. A field named like one of the fixed keys gets the prefix `field.`.
    Json,
}

const FIXED_KEYS: &[&str] = &[
    "timestamp",
    "level",
    "thread",
    "loggerName",
    "message",
    "context",
];

/// Writes events.
pub(crate) struct Lines {
    pub(crate) layout: Layout,
    pub(crate) time: TimeFormat,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let context = context(ctx);
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("-");
        let meta = event.metadata();
        match self.layout {
            Layout::Pattern => {
                self.time.write_now(&mut out)?;
                write!(out, " {:5} [{thread}] {} - ", meta.level(), meta.target())?;
                write!(Escaped(&mut out), "{}", fields.message)?;
                for (name, value) in &fields.others {
                    write_field(&mut out, name, value)?;
                }
                if !context.is_empty() {
                    write!(out, " {context}")?;
                }
            }
            Layout::Json => {
                out.write_str("{\"timestamp\":\"")?;
                self.time.write_now(&mut JsonText(&mut out))?;
                write!(out, "\",\"level\":\"{}\"", meta.level())?;
                for (key, value) in [
                    ("thread", thread),
                    ("loggerName", meta.target()),
                    ("message", fields.message.as_str()),
                ] {
                    write!(out, ",\"{key}\":")?;
                    json_string(&mut out, value)?;
                }
                for (name, value) in &fields.others {
                    let prefix = if FIXED_KEYS.contains(name) {
                        "field."
                    } else {
                        ""
                    };
                    write!(out, ",\"{prefix}{name}\":")?;
                    match value {
                        Value::Plain(text) => out.write_str(text)?,
                        Value::Text(text) => json_string(&mut out, text)?,
                    }
                }
                if !context.is_empty() {
                    out.write_str(",\"context\":")?;
                    json_string(&mut out, &context)?;
                }
                out.write_char('}')?;
            }
        }
        writeln!(out)
    }
}

/// Writes the fields of spans, as the pattern layout shows them.
pub(crate) struct SpanFields;

impl<'writer> FormatFields<'writer> for SpanFields {
    fn format_fields<R: tracing_subscriber::field::RecordFields>(
        &self,
        mut out: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut found = Fields::default();
        fields.record(&mut found);
        for (name, value) in &found.others {
            write_field(&mut out, name, value)?;
        }
        Ok(())
    }
}

/// Fields of all surrounding spans, outermost first.
fn context<S, N>(ctx: &FmtContext<'_, S, N>) -> String
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let mut context = String::new();
    for span in ctx
        .event_scope()
        .into_iter()
        .flat_map(|scope| scope.from_root())
    {
        if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
            context.push_str(fields);
        }
    }
    context.trim_start().to_owned()
}

/// Message and fields of one event.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

enum Value {
    /// A number or a truth value, valid JSON.
    Plain(String),
    Text(String),
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.others
                .push((field.name(), Value::Text(value.to_owned())));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others
            .push((field.name(), Value::Plain(value.to_string())));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others
            .push((field.name(), Value::Plain(value.to_string())));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let text = value.to_string();
        self.others.push((
            field.name(),
            if value.is_finite() {
                Value::Plain(text)
            } else {
                Value::Text(text)
            },
        ));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others
            .push((field.name(), Value::Plain(value.to_string())));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.others
                .push((field.name(), Value::Text(format!("{value:?}"))));
        }
    }
}

/// ` name=value`, the value in quotes when it is empty or holds blanks, quotes or `=`.
fn write_field(out: &mut dyn Write, name: &str, value: &Value) -> fmt::Result {
    write!(out, " {name}=")?;
    match value {
        Value::Plain(text) => out.write_str(text),
        Value::Text(text) if !text.is_empty() && !text.contains([' ', '"', '=']) => {
            Escaped(out).write_str(text)
        }
        Value::Text(text) => {
            out.write_char('"')?;
            for (i, piece) in text.split('"').enumerate() {
                if i > 0 {
                    out.write_str("\\\"")?;
                }
                Escaped(out).write_str(piece)?;
            }
            out.write_char('"')
        }
    }
}

fn json_string(out: &mut dyn Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    JsonText(out).write_str(text)?;
    out.write_char('"')
}

/// Escapes what could end a line or steer a terminal.
struct Escaped<'a>(&'a mut dyn Write);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if is_unsafe(c) {
                write!(self.0, "{}", c.escape_default())?;
            } else {
                self.0.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// Escapes the inside of a JSON string; like [`Escaped`], beyond what JSON asks for.
struct JsonText<'a>(&'a mut dyn Write);

impl Write for JsonText<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '"' | '\\' => write!(self.0, "\\{c}")?,
                '\n' => self.0.write_str("\\n")?,
                '\r' => self.0.write_str("\\r")?,
                '\t' => self.0.write_str("\\t")?,
                c if is_unsafe(c) => write!(self.0, "\\u{:04x}", u32::from(c))?,
                c => self.0.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Control characters, line and paragraph separators, and marks that change the direction of text. All below U+10000.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
