//! The command that somebody meant who mistyped its name.

/// The command whose name is most like `name`, if one is very much so.
pub(crate) fn nearest(name: &str) -> Option<String> {
    let name = name.replace('_', "-").to_ascii_lowercase();
    let limit = if name.len() < 3 { 0 } else { 1 + name.len() / 5 };
    super::names()
        .map(|known| (distance(&name, &known), known))
        .filter(|(far, known)| *far <= limit && *far < known.len())
        .min()
        .map(|(_, known)| known)
}

/// Letters to insert, delete, change or swap to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for (i, left) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, right) in b.iter().enumerate() {
            let change = rows[i][j] + usize::from(left != right);
            let mut best = change.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *right && *left == b[j - 1] {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_commands_find_their_neighbours() {
        assert_eq!(nearest("mout").as_deref(), Some("mount"));
        assert_eq!(nearest("list-filesystem").as_deref(), Some("list-filesystems"));
        assert_eq!(nearest("xyzzy"), None);
        assert_eq!(nearest(""), None);
    }

    #[test]
    fn swapped_letters_are_one_mistake() {
        assert_eq!((distance("moutn", "mount"), distance("abc", ""), distance("", "")), (1, 3, 0));
    }
}
