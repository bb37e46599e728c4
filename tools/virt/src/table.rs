//! Tables: columns as wide as they need to be, or comma-separated values.

/// As wide as text may become before its columns move together.
const MAX_WIDTH: usize = 72;

/// Rows under a title.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows. A title is a row like any other.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Columns, each as wide as its widest cell; two blanks between them while that fits, else one.
    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let whole: usize = widths.iter().map(|width| width + 2).sum();
        let gap = if whole > MAX_WIDTH { " " } else { "  " };
        let line = |row: &Vec<String>| {
            let last = row.len().saturating_sub(1);
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
                let width = if column == last { 0 } else { width };
                format!("{cell:<width$}")
            });
            cells.collect::<Vec<_>>().join(gap) + "\n"
        };
        self.rows.iter().map(line).collect()
    }

    /// Values separated by commas, in quotes where they need them.
    pub fn csv(&self) -> String {
        let line =
            |row: &Vec<String>| row.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",") + "\n";
        self.rows.iter().map(line).collect()
    }
}

/// A value among others that commas separate (RFC 4180).
pub fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\n', '\r', ' ']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_commas() {
        let mut table = Table::new();
        table.row(vec!["Name".to_owned(), "Type".to_owned()]);
        table.row(vec!["/dev/sda1".to_owned(), "a,\"b\"".to_owned()]);
        assert_eq!(table.text(), "Name       Type\n/dev/sda1  a,\"b\"\n");
        assert_eq!(table.csv(), "Name,Type\n/dev/sda1,\"a,\"\"b\"\"\"\n");
        table.row(vec!["x".to_owned(), "y".repeat(70)]);
        assert!(table.text().starts_with("Name      Type\n"));
    }
}
