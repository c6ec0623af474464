//! Unit conversion. Kusto docs: `scalar-functions`, "Unit conversion functions".

use super::{ScalarFunction, rows};
use crate::cells::{Cell, Out};
use std::f64::consts::PI;

/// A unit of the docs page and how many of the family's base unit it is.
type Unit = (&'static str, f64);

macro_rules! converts {
    ($name:literal, $units:ident) => {
        rows($name, |a| convert(a, |from, to| Some((factor($units, from)?, factor($units, to)?)).map(|(from, to)| from / to)))
    };
}

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    rows("convert_angle", |a| Out::from(a[0].real().and_then(|value| angle(value, a[1].text(), a[2].text())).map(tidy))),
    converts!("convert_energy", ENERGIES),
    converts!("convert_force", FORCES),
    converts!("convert_length", LENGTHS),
    converts!("convert_mass", MASSES),
    converts!("convert_volume", VOLUMES),
    rows("convert_speed", |a| convert(a, |from, to| Some(speed(from)? / speed(to)?))),
    rows("convert_temperature", |a| match (a[0].real(), temperature(a[1].text()), temperature(a[2].text())) {
        (Some(value), Some((scale, zero)), Some((to_scale, to_zero))) => Out::Real(tidy((value / scale + zero - to_zero) * to_scale)),
        _ => Out::Null,
    }),
];

fn convert(a: &[Cell], ratio: fn(&str, &str) -> Option<f64>) -> Out {
    match (a[0].real(), ratio(a[1].text(), a[2].text())) {
        (Some(value), Some(ratio)) => Out::Real(tidy(value * ratio)),
        _ => Out::Null,
    }
}

/// Without the last digits, where factors do not multiply to whole numbers.
fn tidy(value: f64) -> f64 {
    format!("{value:.14e}").parse().unwrap_or(value)
}

fn factor(units: &[Unit], name: &str) -> Option<f64> {
    units.iter().find(|(unit, _)| *unit == name).map(|(_, factor)| *factor)
}

/// Metres per second.
fn speed(name: &str) -> Option<f64> {
    const LENGTHS: &[Unit] = &[
        ("Nanometer", 1e-9),
        ("Micrometer", 1e-6),
        ("Millimeter", 1e-3),
        ("Centimeter", 1e-2),
        ("Decimeter", 0.1),
        ("Meter", 1.0),
        ("Kilometer", 1e3),
        ("Inch", 0.0254),
        ("Foot", 0.3048),
        ("UsSurveyFoot", 1200.0 / 3937.0),
        ("Yard", 0.9144),
        ("Mile", 1609.344),
    ];
    if name == "Knot" {
        return Some(1852.0 / 3600.0);
    }
    let (length, time) = name.rsplit_once("Per")?;
    let seconds = factor(&[("Second", 1.0), ("Minute", 60.0), ("Hour", 3600.0)], time)?;
    Some(factor(LENGTHS, length)? / seconds)
}

/// Degrees per kelvin, and the scale's zero in kelvins.
fn temperature(name: &str) -> Option<(f64, f64)> {
    Some(match name {
        "Kelvin" => (1.0, 0.0),
        "DegreeCelsius" => (1.0, 273.15),
        "MillidegreeCelsius" => (1000.0, 273.15),
        "DegreeFahrenheit" => (1.8, 459.67 / 1.8),
        "DegreeRankine" => (1.8, 0.0),
        "DegreeDelisle" => (-1.5, 373.15),
        "DegreeNewton" => (0.33, 273.15),
        "DegreeReaumur" => (0.8, 273.15),
        "DegreeRoemer" => (21.0 / 40.0, 273.15 - 7.5 * 40.0 / 21.0),
        "SolarTemperature" => (1.0 / 5778.0, 0.0),
        _ => return None,
    })
}

/// In degrees.
const ANGLES: &[Unit] = &[
    ("Degree", 1.0),
    ("Arcminute", 1.0 / 60.0),
    ("Arcsecond", 1.0 / 3600.0),
    ("Radian", 180.0 / PI),
    ("Deciradian", 18.0 / PI),
    ("Centiradian", 1.8 / PI),
    ("Milliradian", 0.18 / PI),
    ("Microradian", 1.8e-4 / PI),
    ("Nanoradian", 1.8e-7 / PI),
    ("Gradian", 0.9),
    ("Microdegree", 1e-6),
    ("Millidegree", 1e-3),
    ("Nanodegree", 1e-9),
    ("NatoMil", 360.0 / 6400.0),
    ("Revolution", 360.0),
];

/// A tilt is the sine of an angle.
fn angle(value: f64, from: &str, to: &str) -> Option<f64> {
    let degrees = if from == "Tilt" { value.asin().to_degrees() } else { value * factor(ANGLES, from)? };
    Some(if to == "Tilt" { degrees.to_radians().sin() } else { degrees / factor(ANGLES, to)? }).filter(|value| value.is_finite())
}

const BTU: f64 = 1055.05585262;
const EV: f64 = 1.602176565e-19;
const KWH: f64 = 3.6e6;

/// In joules.
const ENERGIES: &[Unit] = &[
    ("Joule", 1.0),
    ("Millijoule", 1e-3),
    ("Kilojoule", 1e3),
    ("Megajoule", 1e6),
    ("Gigajoule", 1e9),
    ("BritishThermalUnit", BTU),
    ("KilobritishThermalUnit", BTU * 1e3),
    ("MegabritishThermalUnit", BTU * 1e6),
    ("GigabritishThermalUnit", BTU * 1e9),
    ("Calorie", 4.184),
    ("Kilocalorie", 4184.0),
    ("Megacalorie", 4.184e6),
    ("ThermEc", 1.05505585262e8),
    ("ThermUs", 1.054804e8),
    ("ThermImperial", 1.05505585257348e8),
    ("DecathermEc", 1.05505585262e9),
    ("DecathermUs", 1.054804e9),
    ("DecathermImperial", 1.05505585257348e9),
    ("ElectronVolt", EV),
    ("KiloelectronVolt", EV * 1e3),
    ("MegaelectronVolt", EV * 1e6),
    ("GigaelectronVolt", EV * 1e9),
    ("TeraelectronVolt", EV * 1e12),
    ("Erg", 1e-7),
    ("FootPound", 1.355817948),
    ("HorsepowerHour", 2.6845195377e6),
    ("WattHour", 3600.0),
    ("KilowattHour", KWH),
    ("MegawattHour", KWH * 1e3),
    ("GigawattHour", KWH * 1e6),
    ("TerawattHour", KWH * 1e9),
    ("WattDay", 86400.0),
    ("KilowattDay", 86400e3),
    ("MegawattDay", 86400e6),
    ("GigawattDay", 86400e9),
    ("TerawattDay", 86400e12),
];

const POUND_FORCE: f64 = 4.4482216152605;

/// In newtons.
const FORCES: &[Unit] = &[
    ("Newton", 1.0),
    ("Decanewton", 10.0),
    ("Kilonewton", 1e3),
    ("Meganewton", 1e6),
    ("Millinewton", 1e-3),
    ("Micronewton", 1e-6),
    ("Dyn", 1e-5),
    ("KilogramForce", 9.80665),
    ("KiloPond", 9.80665),
    ("TonneForce", 9806.65),
    ("PoundForce", POUND_FORCE),
    ("KilopoundForce", POUND_FORCE * 1e3),
    ("OunceForce", POUND_FORCE / 16.0),
    ("ShortTonForce", POUND_FORCE * 2000.0),
    ("Poundal", 0.138254954376),
];

const LIGHT_YEAR: f64 = 9.46073047258e15;
const PARSEC: f64 = 3.08567758128e16;

/// In metres.
const LENGTHS: &[Unit] = &[
    ("Meter", 1.0),
    ("Decimeter", 0.1),
    ("Centimeter", 1e-2),
    ("Millimeter", 1e-3),
    ("Micrometer", 1e-6),
    ("Nanometer", 1e-9),
    ("Angstrom", 1e-10),
    ("Decameter", 10.0),
    ("Hectometer", 100.0),
    ("Kilometer", 1e3),
    ("Inch", 0.0254),
    ("Microinch", 2.54e-8),
    ("Mil", 2.54e-5),
    ("Hand", 0.1016),
    ("Foot", 0.3048),
    ("UsSurveyFoot", 1200.0 / 3937.0),
    ("Yard", 0.9144),
    ("Fathom", 1.8288),
    ("Chain", 20.1168),
    ("Shackle", 27.432),
    ("Mile", 1609.344),
    ("NauticalMile", 1852.0),
    ("DataMile", 1828.8),
    ("DtpPica", 0.0254 / 6.0),
    ("DtpPoint", 0.0254 / 72.0),
    ("PrinterPica", 0.0254 / 6.0225),
    ("PrinterPoint", 0.0254 / 72.27),
    ("Twip", 0.0254 / 1440.0),
    ("AstronomicalUnit", 1.49597870700e11),
    ("SolarRadius", 6.9551e8),
    ("LightYear", LIGHT_YEAR),
    ("KilolightYear", LIGHT_YEAR * 1e3),
    ("MegalightYear", LIGHT_YEAR * 1e6),
    ("Parsec", PARSEC),
    ("Kiloparsec", PARSEC * 1e3),
    ("Megaparsec", PARSEC * 1e6),
];

const POUND: f64 = 0.45359237;

/// In kilograms.
const MASSES: &[Unit] = &[
    ("Kilogram", 1.0),
    ("Hectogram", 0.1),
    ("Decagram", 1e-2),
    ("Gram", 1e-3),
    ("Decigram", 1e-4),
    ("Centigram", 1e-5),
    ("Milligram", 1e-6),
    ("Microgram", 1e-9),
    ("Nanogram", 1e-12),
    ("Tonne", 1e3),
    ("Kilotonne", 1e6),
    ("Megatonne", 1e9),
    ("Grain", POUND / 7000.0),
    ("Ounce", POUND / 16.0),
    ("Pound", POUND),
    ("Kilopound", POUND * 1e3),
    ("Megapound", POUND * 1e6),
    ("Stone", POUND * 14.0),
    ("ShortHundredweight", POUND * 100.0),
    ("LongHundredweight", POUND * 112.0),
    ("ShortTon", POUND * 2000.0),
    ("LongTon", POUND * 2240.0),
    ("Slug", 14.5939029372064),
    ("EarthMass", 5.9722e24),
    ("SolarMass", 1.98947e30),
];

const CUBIC_FOOT: f64 = 0.028316846592;
const US_GALLON: f64 = 0.003785411784;
const IMPERIAL_GALLON: f64 = 0.00454609;

/// In cubic metres.
const VOLUMES: &[Unit] = &[
    ("CubicMeter", 1.0),
    ("HectocubicMeter", 100.0),
    ("KilocubicMeter", 1e3),
    ("CubicDecimeter", 1e-3),
    ("CubicCentimeter", 1e-6),
    ("CubicMillimeter", 1e-9),
    ("CubicMicrometer", 1e-18),
    ("CubicHectometer", 1e6),
    ("CubicKilometer", 1e9),
    ("Liter", 1e-3),
    ("Deciliter", 1e-4),
    ("Centiliter", 1e-5),
    ("Milliliter", 1e-6),
    ("Microliter", 1e-9),
    ("Decaliter", 1e-2),
    ("Hectoliter", 0.1),
    ("Kiloliter", 1.0),
    ("Megaliter", 1e3),
    ("CubicInch", 1.6387064e-5),
    ("CubicFoot", CUBIC_FOOT),
    ("HectocubicFoot", CUBIC_FOOT * 100.0),
    ("KilocubicFoot", CUBIC_FOOT * 1e3),
    ("MegacubicFoot", CUBIC_FOOT * 1e6),
    ("CubicYard", CUBIC_FOOT * 27.0),
    ("CubicMile", 4.168181825440579e9),
    ("AcreFoot", 1.0 / 0.000810714),
    ("BoardFoot", CUBIC_FOOT / 12.0),
    ("UsGallon", US_GALLON),
    ("DecausGallon", US_GALLON * 10.0),
    ("DeciusGallon", US_GALLON / 10.0),
    ("HectousGallon", US_GALLON * 100.0),
    ("KilousGallon", US_GALLON * 1e3),
    ("MegausGallon", US_GALLON * 1e6),
    ("UsQuart", US_GALLON / 4.0),
    ("UsPint", US_GALLON / 8.0),
    ("UsCustomaryCup", US_GALLON / 16.0),
    ("UsOunce", US_GALLON / 128.0),
    ("UsTablespoon", US_GALLON / 256.0),
    ("UsTeaspoon", US_GALLON / 768.0),
    ("UsLegalCup", 2.4e-4),
    ("UsBeerBarrel", US_GALLON * 31.0),
    ("OilBarrel", US_GALLON * 42.0),
    ("ImperialGallon", IMPERIAL_GALLON),
    ("KiloimperialGallon", IMPERIAL_GALLON * 1e3),
    ("MegaimperialGallon", IMPERIAL_GALLON * 1e6),
    ("ImperialPint", IMPERIAL_GALLON / 8.0),
    ("ImperialOunce", IMPERIAL_GALLON / 160.0),
    ("ImperialBeerBarrel", IMPERIAL_GALLON * 36.0),
    ("MetricCup", 2.5e-4),
    ("MetricTeaspoon", 5e-6),
    ("AuTablespoon", 2e-5),
    ("UkTablespoon", 1.5e-5),
];
