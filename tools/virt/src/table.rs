//! Tables: columns as wide as they need to be, or comma-separated values.

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

    /// Columns separated by a blank, each as wide as its widest cell.
    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join(" ").trim_end().to_owned() + "\n"
        };
        self.rows.iter().map(line).collect()
    }

    /// Values separated by commas, in quotes where they need them (RFC 4180).
    pub fn csv(&self) -> String {
        let quoted = |cell: &String| match cell.contains([',', '"', '\n']) {
            true => format!("\"{}\"", cell.replace('"', "\"\"")),
            false => cell.clone(),
        };
        self.rows.iter().map(|row| row.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n").collect()
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
        assert_eq!(table.text(), "Name      Type\n/dev/sda1 a,\"b\"\n");
        assert_eq!(table.csv(), "Name,Type\n/dev/sda1,\"a,\"\"b\"\"\"\n");
    }
}
