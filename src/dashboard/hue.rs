//! Colours by which tenants are told apart, here and in the simulator's reports.
//!
//! After Okabe and Ito, whose colours people tell apart whatever they see of colour; darker, so that
//! they are seen on white.

use plotters::style::RGBColor;

/// A colour on white, and what stands for it in the dark, as a page writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hue {
    /// On white.
    pub light: RGBColor,
    /// In the dark.
    pub dark: &'static str,
}

/// The first of all.
pub const BLUE: Hue = Hue::new((43, 140, 196), "#56B4E9");
/// Beside blue the most different.
pub const ORANGE: Hue = Hue::new((198, 82, 0), "#F2803D");
/// Bluish.
pub const GREEN: Hue = Hue::new((0, 143, 104), "#1DBF92");
/// Dark on white.
pub const YELLOW: Hue = Hue::new((184, 126, 0), "#E6A520");
/// Reddish purple.
pub const PINK: Hue = Hue::new((184, 92, 147), "#DE8FBE");
/// Darker than blue.
pub const NAVY: Hue = Hue::new((0, 90, 148), "#4A9EE0");
/// Between blue and pink.
pub const VIOLET: Hue = Hue::new((106, 81, 163), "#A594E0");
/// Darker than yellow.
pub const OLIVE: Hue = Hue::new((133, 117, 0), "#D8CC3C");

/// Text, axes and lines.
pub const INK: RGBColor = RGBColor(0, 0, 0);
/// Whoever has no colour.
pub const OTHERS: Hue = Hue::new((127, 135, 144), "#9198A1");

impl Hue {
    /// A colour by its parts on white, and as it is written in the dark.
    #[must_use]
    pub const fn new((red, green, blue): (u8, u8, u8), dark: &'static str) -> Self {
        Self {
            light: RGBColor(red, green, blue),
            dark,
        }
    }
}

/// A colour as a page writes it.
#[must_use]
pub fn css(colour: RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2)
}
