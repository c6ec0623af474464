//! Where an edge from a point may end, so that it passes near some points and keeps away from others.

use super::{apart, chord};
use crate::functions::geospatial::Vector;
use std::f64::consts::{FRAC_PI_2, PI, TAU};

/// The directions that an edge from a point may have.
pub(super) struct View {
    from: Vector,
    axes: [Vector; 2],
    open: Directions,
    /// What is to be avoided, while all directions are open, and whether it is on the left.
    waiting: Vec<(Directions, bool)>,
}

impl View {
    pub(super) fn from(from: Vector) -> View {
        let up = from.any_normal();
        View { from, axes: [up.cross(from), up], open: Directions::FULL, waiting: Vec::new() }
    }

    fn direction(&self, point: Vector) -> f64 {
        point.dot(self.axes[1]).atan2(point.dot(self.axes[0]))
    }

    /// Half the angle that a disc takes; `None` of one around the point itself.
    fn half(&self, center: Vector, radius: f64) -> Option<f64> {
        let away = apart(self.from, center);
        let sine = |chord: f64| chord * (1.0 - chord / 4.0);
        (away > chord(radius)).then(|| (sine(chord(radius)) / sine(away)).sqrt().asin())
    }

    /// Keeps the directions that go through a disc. Whether some are left.
    pub(super) fn pass(&mut self, center: Vector, radius: f64) -> bool {
        let Some(half) = self.half(center, radius) else { return true };
        let middle = self.direction(center);
        self.open = self.open.common(Directions::of(middle - half, middle + half));
        for (range, is_left) in std::mem::take(&mut self.waiting) {
            self.close(range, is_left);
        }
        !self.open.is_empty()
    }

    /// Keeps the directions that pass a disc on one side. Whether some are left.
    pub(super) fn avoid(&mut self, center: Vector, radius: f64, is_left: bool) -> bool {
        let Some(half) = self.half(center, radius) else {
            self.open = Directions::EMPTY;
            return false;
        };
        let middle = self.direction(center);
        let range = if is_left { Directions::of(middle - half, middle + FRAC_PI_2) } else { Directions::of(middle - FRAC_PI_2, middle + half) };
        if self.open == Directions::FULL {
            self.waiting.push((range, is_left));
            return true;
        }
        self.close(range, is_left);
        !self.open.is_empty()
    }

    fn close(&mut self, range: Directions, is_left: bool) {
        self.open = match self.open.holds(range) {
            true if is_left => Directions { low: self.open.low, high: range.low },
            true => Directions { low: range.high, high: self.open.high },
            false => self.open.common(Directions { low: range.high, high: range.low }),
        };
    }

    /// Whether an edge may end there; none is longer than a quarter of a circle.
    pub(super) fn sees(&self, point: Vector) -> bool {
        let direction = self.direction(point);
        apart(self.from, point) <= 2.0 && self.open.has(direction) && !self.waiting.iter().any(|(range, _)| range.has(direction))
    }
}

/// Directions from a low one, against the clock, to a high one, which may be a smaller number.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Directions {
    low: f64,
    high: f64,
}

impl Directions {
    const FULL: Directions = Directions { low: -PI, high: PI };
    const EMPTY: Directions = Directions { low: PI, high: -PI };

    fn of(low: f64, high: f64) -> Directions {
        let turned = |angle: f64| angle - TAU * (angle / TAU).round();
        Directions { low: turned(low), high: turned(high) }
    }

    fn is_empty(self) -> bool {
        self == Directions::EMPTY
    }

    fn is_turned(self) -> bool {
        self.low > self.high
    }

    fn has(self, direction: f64) -> bool {
        let (above, below) = (direction >= self.low, direction <= self.high);
        if self.is_turned() { (above || below) && !self.is_empty() } else { above && below }
    }

    fn holds(self, other: Directions) -> bool {
        let (above, below) = (other.low >= self.low, other.high <= self.high);
        match (self.is_turned(), other.is_turned()) {
            (true, false) => (above || below) && !self.is_empty(),
            (false, true) => self == Directions::FULL || other.is_empty(),
            _ => above && below,
        }
    }

    fn length(self) -> f64 {
        let length = self.high - self.low;
        if length >= 0.0 { length } else { length + TAU }
    }

    /// What both have; of two parts one of them, whole.
    fn common(self, other: Directions) -> Directions {
        match (self.has(other.low), self.has(other.high)) {
            _ if other.is_empty() => Directions::EMPTY,
            (true, true) if self.holds(other) || other.length() < self.length() => other,
            (true, true) => self,
            (true, false) => Directions { low: other.low, high: self.high },
            (false, true) => Directions { low: self.low, high: other.high },
            (false, false) if other.has(self.low) => self,
            (false, false) => Directions::EMPTY,
        }
    }
}
