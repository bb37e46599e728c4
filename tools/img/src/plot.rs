//! Where the data lies, at a glance: a picture for `map`, as SVG and for terminals.

use std::fmt::Write;
use std::ops::Range;

use libimage::Extent;
use libimage::units::human;

/// What part of a cell is what, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Cell {
    data: u64,
    compressed: u64,
    /// Data that a backing file holds.
    below: u64,
    /// Said to be zero by the image itself.
    zero: u64,
}

/// A disk in equal cells.
pub(crate) struct Plot {
    range: Range<u64>,
    cell: u64,
    cells: Vec<Cell>,
}

impl Plot {
    /// The cells of `range`, at most `count`, each a multiple of 512 bytes.
    pub(crate) fn new(range: Range<u64>, count: u64) -> Self {
        let length = range.end.saturating_sub(range.start);
        let cell = length.div_ceil(count.max(1)).max(1).next_multiple_of(512);
        let cells = vec![Cell::default(); length.div_ceil(cell) as usize];
        Plot { range, cell, cells }
    }

    /// Takes an extent in.
    pub(crate) fn add(&mut self, start: u64, extent: &Extent) {
        let mut at = start.max(self.range.start) - self.range.start;
        let end = start.saturating_add(extent.length).min(self.range.end).saturating_sub(self.range.start);
        while at < end {
            let index = at / self.cell;
            let part = ((index + 1) * self.cell).min(end) - at;
            if let Some(cell) = self.cells.get_mut(index as usize) {
                let kind = match extent {
                    Extent { zero: true, present: true, depth: 0, .. } => Some(&mut cell.zero),
                    Extent { data: true, zero: false, depth: 1.., .. } => Some(&mut cell.below),
                    Extent { data: true, zero: false, compressed: true, .. } => Some(&mut cell.compressed),
                    Extent { data: true, zero: false, .. } => Some(&mut cell.data),
                    _ => None,
                };
                if let Some(kind) = kind {
                    *kind += part;
                }
            }
            at += part;
        }
    }

    fn share(&self, part: u64) -> f64 {
        part as f64 / self.cell as f64
    }

    fn totals(&self) -> [(&'static str, &'static str, u64); 4] {
        let sum = |part: fn(&Cell) -> u64| self.cells.iter().map(part).sum();
        [
            ("data", "#1f6f8b", sum(|c| c.data)),
            ("compressed", "#c8553d", sum(|c| c.compressed)),
            ("in a backing file", "#8a8a8a", sum(|c| c.below)),
            ("zero", "#e8dcc0", sum(|c| c.zero)),
        ]
    }

    /// A picture for browsers: a square for each cell, darker the more of it is stored.
    pub(crate) fn svg(&self, name: &str) -> String {
        const SIDE: usize = 8;
        const COLUMNS: usize = 128;
        let rows = self.cells.len().div_ceil(COLUMNS).max(1);
        let (width, height) = (COLUMNS * SIDE + 20, rows * SIDE + 70);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        );
        // Writing into a string cannot fail.
        let _ = writeln!(
            out,
            "<text x=\"10\" y=\"20\">{}: {}, {} a square</text>",
            escaped(name),
            human(self.range.end.saturating_sub(self.range.start)),
            human(self.cell)
        );
        let mut x = 10;
        for (what, color, bytes) in self.totals() {
            let _ = writeln!(
                out,
                "<rect x=\"{x}\" y=\"30\" width=\"12\" height=\"12\" fill=\"{color}\"/><text x=\"{}\" y=\"41\">{what} {}</text>",
                x + 17,
                human(bytes)
            );
            x += 220;
        }
        for (index, cell) in self.cells.iter().enumerate() {
            let (x, y) = (10 + index % COLUMNS * SIDE, 55 + index / COLUMNS * SIDE);
            let _ = writeln!(out, "<rect x=\"{x}\" y=\"{y}\" width=\"7\" height=\"7\" fill=\"#f4f4f4\"/>");
            let kinds = [cell.data, cell.compressed, cell.below, cell.zero];
            for ((_, color, _), part) in self.totals().into_iter().zip(kinds) {
                if part > 0 {
                    let opacity = 0.25 + 0.75 * self.share(part);
                    let _ = writeln!(
                        out,
                        "<rect x=\"{x}\" y=\"{y}\" width=\"7\" height=\"7\" fill=\"{color}\" fill-opacity=\"{opacity:.2}\"/>"
                    );
                }
            }
        }
        out + "</svg>\n"
    }

    /// A picture for terminals: a character for each cell, fuller the more of it is stored.
    pub(crate) fn text(&self, columns: usize) -> String {
        const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
        let mut out = String::new();
        for row in self.cells.chunks(columns.max(1)) {
            let shade = |cell: &Cell| {
                let stored = self.share(cell.data + cell.compressed + cell.below);
                match stored {
                    stored if stored > 0.0 => SHADES[1 + (stored * 3.999) as usize % 4],
                    _ if cell.zero > 0 => '·',
                    _ => SHADES[0],
                }
            };
            let line: String = row.iter().map(shade).collect();
            let _ = writeln!(out, "│{line:<columns$}│");
        }
        let _ = writeln!(out, "{} a character", human(self.cell));
        for (what, _, bytes) in self.totals().into_iter().filter(|(_, _, bytes)| *bytes > 0) {
            let _ = writeln!(out, "{what}: {}", human(bytes));
        }
        out
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .chars()
        .filter(|c| !c.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_in_one_cell() {
        let mut plot = Plot::new(1000..101_000, 10);
        assert_eq!((plot.cell, plot.cells.len()), (10_240, 10));
        plot.add(0, &Extent::data(3000, 0));
        plot.add(3000, &Extent::zero(17_480));
        plot.add(20_480, &Extent { compressed: true, ..Extent::data(200_000, 0) });
        let totals = plot.totals().map(|(_, _, bytes)| bytes);
        assert_eq!(totals, [2000, 80_520, 0, 17_480]);
        assert_eq!(plot.text(5).lines().count(), 2 + 1 + 3);
        assert!(plot.svg("a<b").contains("a&lt;b"));
        assert!(Plot::new(5..5, 10).text(10).contains("a character"));
    }
}
