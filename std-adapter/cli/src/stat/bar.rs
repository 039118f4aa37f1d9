//! A bar that is so full.

/// Eighths of a place, from one to seven.
const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// The full part and the empty part of a bar of `width` places.
pub fn bar(fill: u32, capacity: u32, width: usize, unicode: bool) -> (String, String) {
    let steps = if unicode { 8 } else { 1 };
    let all = width as u64 * steps;
    let done = if capacity == 0 { 0 } else { all * u64::from(fill.min(capacity)) / u64::from(capacity) };
    // What is not empty shows, and what is not full leaves a gap.
    let done = match (fill, capacity) {
        (0, _) | (_, 0) => 0,
        (fill, capacity) if fill >= capacity => all,
        _ => done.clamp(1, all.saturating_sub(1).max(1)).min(all),
    };
    let (whole, part) = ((done / steps) as usize, (done % steps) as usize);
    let mut full = if unicode { "█" } else { "#" }.repeat(whole);
    if part > 0 {
        full.push(EIGHTHS[part - 1]);
    }
    let empty = if unicode { " " } else { "." }.repeat(width - full.chars().count());
    (full, empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars() {
        let text = |fill, unicode| {
            let (full, empty) = bar(fill, 1 << 29, 4, unicode);
            format!("{full}{empty}")
        };
        assert_eq!(text(0, true), "    ");
        assert_eq!(text(1, true), "▏   ");
        assert_eq!(text(1 << 28, true), "██  ");
        assert_eq!(text((1 << 29) - 1, true), "███▉");
        assert_eq!(text(1 << 29, true), "████");
        assert_eq!(text(u32::MAX, true), "████");
        assert_eq!([text(0, false), text(1, false), text((1 << 29) - 1, false)], ["....", "#...", "###."]);
        assert_eq!(bar(3, 0, 2, true), (String::new(), "  ".into()));
        assert_eq!(bar(3, 8, 0, true), (String::new(), String::new()));
    }
}
