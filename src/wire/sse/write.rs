//! Frames to bytes.

use super::{Event, Frame, before_line_end};

impl Frame {
    /// Appends the canonical form.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Event(event) => event.write(out),
            Self::Comment => out.extend_from_slice(b":\n\n"),
        }
    }
}

impl Event {
    /// Appends the canonical form: LF, `event` (said also of messages, not of empty ones), `id`, `retry`, `data`.
    /// CR and LF never get into `event` or `id`, nor NUL into `id`; each line of the data is its own `data` line.
    pub fn write(&self, out: &mut Vec<u8>) {
        let data = self.data.as_deref();
        let default = data.filter(|d| !d.is_empty()).map(|_| "message");
        if let Some(name) = self.event.as_deref().or(default) {
            write_line("event", name, out);
        }
        if let Some(id) = &self.id {
            write_line("id", id, out);
        }
        if let Some(retry) = self.retry {
            write_line("retry", &retry.to_string(), out);
        }
        if let Some(data) = data {
            write_data(data, out);
        }
        out.push(b'\n');
    }
}

fn write_data(data: &str, out: &mut Vec<u8>) {
    // JSON is of one line.
    if before_line_end(data.as_bytes()) == data.len() {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(data.as_bytes());
        return out.push(b'\n');
    }
    for line in data.replace("\r\n", "\n").split(['\n', '\r']) {
        write_line("data", line, out);
    }
}

fn write_line(field: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(field.as_bytes());
    out.extend_from_slice(b": ");
    if !value.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        out.extend_from_slice(value.as_bytes());
        return out.push(b'\n');
    }
    // Only an `id` may not hold NUL: taken out of a name it would make another name of it, `message` among them.
    out.extend(value.bytes().filter(|b| !matches!(b, b'\r' | b'\n') && (*b != 0 || field != "id")));
    out.push(b'\n');
}
