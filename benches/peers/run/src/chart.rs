//! Bar charts as SVG: one bar per framework, with one part or several.
//!
//! The SVG is hand-written, because the charts only need rectangles and texts.

use std::fmt::Write as _;

use crate::numbers::significant;

/// A chart of horizontal bars, one below the other.
#[derive(Debug)]
pub(crate) struct Chart {
    pub(crate) title: String,
    /// The names of a bar's parts. If there are several, a legend shows them.
    pub(crate) parts: &'static [&'static str],
    pub(crate) bars: Vec<Bar>,
}

/// A bar. Its label shows the sum of its parts.
#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) parts: Vec<f64>,
}

impl Bar {
    fn sum(&self) -> f64 {
        self.parts.iter().sum()
    }
}

impl Chart {
    /// The whole SVG file.
    pub(crate) fn svg(&self) -> String {
        let has_legend = self.parts.len() > 1;
        let top = if has_legend { 2 * ROW } else { ROW } + MARGIN;
        let height = top + ROW * self.bars.len() + MARGIN;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
        );
        text(&mut svg, MARGIN, ROW, "start", &self.title);
        if has_legend {
            self.legend(&mut svg);
        }
        let longest = self
            .bars
            .iter()
            .map(Bar::sum)
            .fold(f64::MIN_POSITIVE, f64::max);
        for (at, bar) in self.bars.iter().enumerate() {
            bar_at(&mut svg, bar, top + ROW * at, longest);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn legend(&self, svg: &mut String) {
        for (at, part) in self.parts.iter().enumerate() {
            let x = LABELS + at * LEGEND;
            rectangle(svg, x, ROW + MARGIN + 3, 12, COLOURS[at % COLOURS.len()]);
            text(svg, x + 18, 2 * ROW + MARGIN - 6, "start", part);
        }
    }
}

fn bar_at(svg: &mut String, bar: &Bar, y: usize, longest: f64) {
    let baseline = y + ROW - 6;
    text(svg, LABELS - 8, baseline, "end", &bar.label);
    let mut x = LABELS;
    for (at, part) in bar.parts.iter().enumerate() {
        let width = (part / longest * BARS as f64).round() as usize;
        rectangle(svg, x, y + 3, width, COLOURS[at % COLOURS.len()]);
        x += width;
    }
    text(svg, x + 6, baseline, "start", &significant(bar.sum()));
}

fn rectangle(svg: &mut String, x: usize, y: usize, width: usize, colour: &str) {
    let height = ROW - 6;
    let _ = writeln!(
        svg,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{colour}\"/>"
    );
}

fn text(svg: &mut String, x: usize, y: usize, anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>"
    );
}

const WIDTH: usize = 720;
const MARGIN: usize = 8;
const ROW: usize = 22;
/// The width for the names of the frameworks.
const LABELS: usize = 110;
/// The width of the longest bar; the rest is for its number.
const BARS: usize = 530;
const LEGEND: usize = 120;
const COLOURS: [&str; 2] = ["#3b75af", "#ef8536"];

#[cfg(test)]
mod tests {
    use super::{Bar, Chart};

    fn bar(label: &str, parts: &[f64]) -> Bar {
        Bar {
            label: label.to_owned(),
            parts: parts.to_vec(),
        }
    }

    #[test]
    fn bars_are_to_scale_and_say_their_sum() {
        let chart = Chart {
            title: "W1: a < b".to_owned(),
            parts: &["server", "client"],
            bars: vec![bar("tonic", &[10.0, 10.0]), bar("wawo", &[5.0, 0.0])],
        };
        let svg = chart.svg();
        assert_eq!(svg.matches("width=\"265\"").count(), 2, "{svg}");
        assert!(svg.contains("width=\"133\""), "{svg}");
        assert!(svg.contains(">20.0</text>") && svg.contains(">5.00</text>"));
        assert!(svg.contains("a &lt; b") && svg.contains(">client</text>"));
        assert!(svg.ends_with("</svg>\n"));
    }

    #[test]
    fn one_part_has_no_legend_and_no_bars_are_no_trouble() {
        let chart = Chart {
            title: "nothing".to_owned(),
            parts: &["calls"],
            bars: vec![],
        };
        assert!(!chart.svg().contains("calls"));
    }
}
