//! Sizes for people, as `df -h` and `virt-filesystems -h` show them.

/// The nearest number of a handy unit, one decimal below ten, with the unit's letter; halves go to the even neighbour.
pub fn human(bytes: u128) -> String {
    const UNITS: [&str; 9] = ["", "K", "M", "G", "T", "P", "E", "Z", "Y"];
    let mut unit = 0;
    while unit + 1 < UNITS.len() && bytes >> (10 * (unit + 1)) > 0 {
        unit += 1;
    }
    let scale = 1 << (10 * unit);
    let tenths = nearest(bytes.saturating_mul(10), scale);
    if unit > 0 && tenths < 100 {
        return format!("{}.{}{}", tenths / 10, tenths % 10, UNITS[unit]);
    }
    match nearest(bytes, scale) {
        1024 if unit + 1 < UNITS.len() => format!("1.0{}", UNITS[unit + 1]),
        whole => format!("{whole}{}", UNITS[unit]),
    }
}

fn nearest(number: u128, scale: u128) -> u128 {
    let (whole, rest) = (number / scale, number % scale);
    let up = rest * 2 > scale || (rest * 2 == scale && whole % 2 == 1);
    whole + u128::from(up)
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_are_those_of_virt_df() {
        // From virt-df and virt-filesystems on devices and file systems of these sizes.
        for (bytes, text) in [
            (0, "0"),
            (512, "512"),
            (1023, "1023"),
            (1024, "1.0K"),
            (33_519 << 10, "33M"),
            (1995 << 10, "1.9M"),
            (6588 << 10, "6.4M"),
            (5897 << 10, "5.8M"),
            (119 << 10, "119K"),
            (10_239, "10K"),
            (1 << 30, "1.0G"),
            (1_048_575, "1.0M"),
            (u128::from(u64::MAX), "16E"),
            (u128::MAX, "281474976710656Y"),
        ] {
            assert_eq!(human(bytes), text, "{bytes}");
        }
    }
}
