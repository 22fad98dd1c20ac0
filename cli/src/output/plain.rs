//! Text for terminals that show ASCII and nothing else: each line, bar and dot of a chart as the nearest character.

/// Braille characters, whose low byte says which of their eight dots are there.
const BRAILLE: std::ops::RangeInclusive<char> = '\u{2800}'..='\u{28ff}';
/// The dots of a braille character's rows: the first, the two in the middle, the last.
const TOP: u32 = 0b0000_1001;
const MIDDLE: u32 = 0b0011_0110;
const BOTTOM: u32 = 0b1100_0000;

/// The text in ASCII. Every character stays one, but for the ellipsis, so that columns stay columns.
pub(super) fn ascii(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            _ if letter.is_ascii() => plain.push(letter),
            '─' | '━' | '–' => plain.push('-'),
            '│' => plain.push('|'),
            '┤' | '┼' | '└' | '┬' => plain.push('+'),
            '█' | '▉' | '▊' | '▋' | '▌' => plain.push('#'),
            // Shades of a heat map, which must not be taken for each other.
            '▓' => plain.push('%'),
            '▒' => plain.push('+'),
            '░' => plain.push('.'),
            '▍' | '▎' | '▏' => plain.push('|'),
            '≤' => plain.push('<'),
            '…' => plain.push('~'),
            _ if BRAILLE.contains(&letter) => plain.push(dots(u32::from(letter) & 0xff)),
            // Of a tenant: what it is cannot be shown, that it is there can.
            _ => plain.push('?'),
        }
    }
    plain
}

/// What stands for a braille character.
fn dots(bits: u32) -> char {
    match (bits & TOP != 0, bits & MIDDLE != 0, bits & BOTTOM != 0) {
        (false, false, false) => ' ',
        (true, false, false) => '\'',
        (false, true, false) => '-',
        (false, false, true) => '_',
        _ => ':',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_becomes_one_of_ascii() {
        assert_eq!(ascii("   5 ┤⠉⣀⣿ ⠒\n     └──┬█▌▏"), "   5 +'_: -\n     +--+##|");
        assert_eq!(ascii("naïve…"), "na?ve~");
        assert!(('\u{80}'..'\u{3000}').all(|letter| ascii(&letter.to_string()).len() == 1));
    }
}
