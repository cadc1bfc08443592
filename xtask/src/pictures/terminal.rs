//! What a command printed, as a terminal shows it.

use std::fmt::Write;

use super::draw::escaped;

/// A character's width and a line's height, in pixels, of 12 px in the usual fonts.
const CELL: (f64, f64) = (7.2, 18.0);
const MARGIN: f64 = 18.0;
/// The bar above, with its three buttons.
const BAR: f64 = 34.0;

/// The command after its prompt, and its output, folded where a line is longer than the table is wide.
pub(super) fn picture(command: &str, output: &str) -> String {
    let columns = output.lines().next().map_or(80, |header| {
        let table = output.lines().take_while(|line| !line.is_empty());
        table.map(|line| line.chars().count()).max().unwrap_or(80).max(header.len())
    });
    let lines: Vec<String> = output.lines().flat_map(|line| folded(line, columns)).collect();
    #[expect(clippy::cast_precision_loss, reason = "a screenful")]
    let (width, height) =
        (columns as f64 * CELL.0 + 2.0 * MARGIN, BAR + (lines.len() + 1) as f64 * CELL.1 + 1.5 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" \
         font-family=\"ui-monospace,SFMono-Regular,Menlo,Consolas,'Liberation Mono',monospace\" font-size=\"12\" fill=\"#d4d7dd\">\n\
         <title>{command}</title>\n<rect width=\"{width:.0}\" height=\"{height:.0}\" rx=\"8\" fill=\"#16181d\"/>\n"
    );
    for (x, colour) in [(20, "#ff5f57"), (38, "#febc2e"), (56, "#28c840")] {
        let _ = writeln!(svg, "<circle cx=\"{x}\" cy=\"18\" r=\"5.5\" fill=\"{colour}\"/>");
    }
    let prompt = format!("$ {command}");
    for (number, line) in std::iter::once(&prompt).chain(&lines).enumerate().filter(|(_, line)| !line.is_empty()) {
        let indent = line.chars().take_while(|character| *character == ' ').count();
        let text = line.trim_start();
        #[expect(clippy::cast_precision_loss, reason = "a screenful")]
        let (x, y, length) =
            (MARGIN + indent as f64 * CELL.0, BAR + (number + 1) as f64 * CELL.1, text.chars().count() as f64 * CELL.0);
        // The header, and what was typed, as a shell would make them stand out.
        let style = if number < 2 { " fill=\"#ffffff\" font-weight=\"600\"" } else { "" };
        // The length holds columns apart whatever font there is.
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\" xml:space=\"preserve\"{style}>{}</text>",
            escaped(text)
        );
    }
    svg += "</svg>\n";
    svg
}

/// A line in pieces of so many characters at most, at its spaces.
fn folded(line: &str, columns: usize) -> Vec<String> {
    if line.chars().count() <= columns {
        return vec![line.to_owned()];
    }
    let mut pieces = vec![String::new()];
    for word in line.split(' ') {
        let length = pieces.last().map_or(0, |piece| piece.chars().count());
        if length > 0 && length + 1 + word.chars().count() > columns {
            pieces.push(String::new());
        }
        if let Some(piece) = pieces.last_mut() {
            if !piece.is_empty() {
                piece.push(' ');
            }
            piece.push_str(word);
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::folded;

    #[test]
    fn long_lines_are_folded_at_their_spaces() {
        assert_eq!(folded("team-a/reports: it is not", 16), ["team-a/reports:", "it is not"]);
        assert_eq!(folded("NAME   READY", 16), ["NAME   READY"]);
    }
}
