//! Flame graphs: how often each stack was sampled, drawn as boxes above their callers.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Pixels.
const WIDTH: f64 = 1200.0;
const ROW: f64 = 16.0;
const HEAD: f64 = 30.0;
/// Boxes that are narrower are left out.
const NARROWEST: f64 = 0.6;
/// Of a letter.
const LETTER: f64 = 6.6;

/// A function that was running or had called one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Frame {
    pub(super) name: String,
    pub(super) is_kernel: bool,
}

/// Stacks, joined where they begin alike.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    count: u64,
    calls: BTreeMap<Frame, Stacks>,
}

impl Stacks {
    /// Reads what `perf script --fields=ip,sym` prints: a block for each sample, the running function first.
    pub(super) fn parse(text: &str) -> Stacks {
        let mut all = Stacks::default();
        for block in text.split("\n\n") {
            let frames: Vec<Frame> = block.lines().filter_map(Frame::parse).collect();
            if !frames.is_empty() {
                all.add(frames.into_iter().rev());
            }
        }
        all
    }

    fn add(&mut self, frames: impl Iterator<Item = Frame>) {
        let mut at = self;
        at.count += 1;
        for frame in frames {
            at = at.calls.entry(frame).or_default();
            at.count += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Running functions with their samples; one can be there several times.
    pub(super) fn leaves(&self) -> Vec<(&Frame, u64)> {
        let mut found = Vec::new();
        let mut open: Vec<(&Frame, &Stacks)> = self.calls.iter().collect();
        while let Some((frame, stacks)) = open.pop() {
            let within: u64 = stacks.calls.values().map(|inner| inner.count).sum();
            if stacks.count > within {
                found.push((frame, stacks.count - within));
            }
            open.extend(&stacks.calls);
        }
        found
    }

    /// The drawing. What was called stands above who called it; user code is warm, the kernel cold.
    pub(super) fn svg(&self, title: &str) -> String {
        let pixels = WIDTH / self.count.max(1) as f64;
        let mut boxes = Vec::new();
        self.place(0.0, 0, pixels, &mut boxes);
        let depth = boxes.iter().map(|(level, ..)| level + 1).max().unwrap_or(0);
        let height = HEAD + depth as f64 * ROW;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"monospace\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"4\" y=\"18\" font-size=\"14\">{}, {} samples</text>\n",
            escaped(title),
            self.count
        );
        for (level, x, width, frame, count) in boxes {
            let y = height - (level + 1) as f64 * ROW;
            let percent = 100.0 * count as f64 / self.count.max(1) as f64;
            let colour = frame.colour();
            let name = escaped(&frame.name);
            let fits = (width / LETTER) as usize;
            let shown: String = frame.name.chars().take(fits).collect();
            let shown = if fits < 3 {
                String::new()
            } else {
                escaped(&shown)
            };
            let _ = writeln!(
                svg,
                "<g><title>{name}, {percent:.1} %</title><rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{}\">{shown}</text></g>",
                ROW - 1.0,
                x + 2.0,
                y + 11.0,
            );
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn place<'s>(
        &'s self,
        mut x: f64,
        level: usize,
        pixels: f64,
        boxes: &mut Vec<(usize, f64, f64, &'s Frame, u64)>,
    ) {
        for (frame, inner) in &self.calls {
            let width = inner.count as f64 * pixels;
            if width >= NARROWEST {
                boxes.push((level, x, width, frame, inner.count));
                inner.place(x, level + 1, pixels, boxes);
            }
            x += width;
        }
    }
}

impl Frame {
    /// A line of a stack: an address and a name.
    fn parse(line: &str) -> Option<Frame> {
        let (address, name) = line.trim().split_once(' ')?;
        let is_address = address.len() >= 4 && address.bytes().all(|b| b.is_ascii_hexdigit());
        is_address.then(|| Frame {
            name: name.trim().to_owned(),
            // The upper half of the addresses is the kernel's.
            is_kernel: address.len() == 16 && address.starts_with("ffff"),
        })
    }

    /// The same name has the same colour in all drawings.
    fn colour(&self) -> String {
        let sum: u32 = self.name.bytes().map(u32::from).sum();
        let hue = if self.is_kernel { 200 } else { 20 } + sum % 35;
        format!("hsl({hue},75%,{}%)", 66 + sum % 3 * 5)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: &str = "\n\tffffffff81230000 copy_in\n\t    7f00aa send<u8>\n\t    7f00bb main\n\n\t    7f00cc walk\n\t    7f00bb main\n\n\t    7f00cc walk\n\t    7f00bb main\n\n";

    #[test]
    fn stacks_are_joined() {
        let stacks = Stacks::parse(SAMPLES);
        let mut leaves: Vec<_> = stacks
            .leaves()
            .into_iter()
            .map(|(frame, count)| (frame.name.as_str(), frame.is_kernel, count))
            .collect();
        leaves.sort_unstable();
        assert_eq!(leaves, [("copy_in", true, 1), ("walk", false, 2)]);
        let svg = stacks.svg("a & b");
        assert!(svg.contains("a &amp; b, 3 samples") && svg.contains("send&lt;u8&gt;, 33.3 %"));
        assert!(svg.contains("width=\"800.0\""), "{svg}");
        assert!(Stacks::parse("").is_empty() && Stacks::parse("nothing\n\nat all").is_empty());
    }
}
