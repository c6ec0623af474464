//! Kusto's scalar types and the values of literals. Kusto docs: `scalar-data-types/index`.

use std::fmt;

/// A scalar type of Kusto. The binder owns these; Arrow only carries the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScalarType {
    Bool,
    Int,
    Long,
    Real,
    Decimal,
    DateTime,
    TimeSpan,
    Guid,
    String,
    Dynamic,
}

impl ScalarType {
    pub const ALL: [ScalarType; 10] = [
        ScalarType::Bool,
        ScalarType::Int,
        ScalarType::Long,
        ScalarType::Real,
        ScalarType::Decimal,
        ScalarType::DateTime,
        ScalarType::TimeSpan,
        ScalarType::Guid,
        ScalarType::String,
        ScalarType::Dynamic,
    ];

    /// The type a name stands for, synonyms included (`double`, `date`, `time`, `boolean`, `uuid`).
    pub fn from_name(name: &str) -> Option<ScalarType> {
        Some(match name {
            "bool" | "boolean" => ScalarType::Bool,
            "int" | "int32" | "uint" | "uint32" | "int16" | "uint16" | "int8" | "uint8" => ScalarType::Int,
            "long" | "int64" | "ulong" | "uint64" => ScalarType::Long,
            "real" | "double" | "float" => ScalarType::Real,
            "decimal" => ScalarType::Decimal,
            "datetime" | "date" => ScalarType::DateTime,
            "timespan" | "time" => ScalarType::TimeSpan,
            "guid" | "uuid" | "uniqueid" => ScalarType::Guid,
            "string" => ScalarType::String,
            "dynamic" => ScalarType::Dynamic,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            ScalarType::Bool => "bool",
            ScalarType::Int => "int",
            ScalarType::Long => "long",
            ScalarType::Real => "real",
            ScalarType::Decimal => "decimal",
            ScalarType::DateTime => "datetime",
            ScalarType::TimeSpan => "timespan",
            ScalarType::Guid => "guid",
            ScalarType::String => "string",
            ScalarType::Dynamic => "dynamic",
        }
    }

    /// The .NET name that `getschema` shows.
    pub fn dotnet_name(self) -> &'static str {
        match self {
            ScalarType::Bool => "System.SByte",
            ScalarType::Int => "System.Int32",
            ScalarType::Long => "System.Int64",
            ScalarType::Real => "System.Double",
            ScalarType::Decimal => "System.Data.SqlTypes.SqlDecimal",
            ScalarType::DateTime => "System.DateTime",
            ScalarType::TimeSpan => "System.TimeSpan",
            ScalarType::Guid => "System.Guid",
            ScalarType::String => "System.String",
            ScalarType::Dynamic => "System.Object",
        }
    }

    pub fn is_integer(self) -> bool {
        matches!(self, ScalarType::Int | ScalarType::Long)
    }

    pub fn is_number(self) -> bool {
        matches!(self, ScalarType::Int | ScalarType::Long | ScalarType::Real | ScalarType::Decimal)
    }

    /// Numbers, datetime and timespan: what can be added.
    pub fn is_summable(self) -> bool {
        self.is_number() || matches!(self, ScalarType::DateTime | ScalarType::TimeSpan)
    }
}

impl fmt::Display for ScalarType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The value of a literal or of a folded constant.
///
/// `DateTime` and `TimeSpan` are 100 ns ticks (since 0001-01-01 for datetime), `Dynamic` is JSON text,
/// `Decimal` is its decimal text, `Guid` is lower-case with hyphens.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null(ScalarType),
    Bool(bool),
    Int(i32),
    Long(i64),
    Real(f64),
    Decimal(String),
    DateTime(i64),
    TimeSpan(i64),
    Guid(String),
    String(String),
    Dynamic(String),
}

impl Value {
    pub fn scalar_type(&self) -> ScalarType {
        match self {
            Value::Null(ty) => *ty,
            Value::Bool(_) => ScalarType::Bool,
            Value::Int(_) => ScalarType::Int,
            Value::Long(_) => ScalarType::Long,
            Value::Real(_) => ScalarType::Real,
            Value::Decimal(_) => ScalarType::Decimal,
            Value::DateTime(_) => ScalarType::DateTime,
            Value::TimeSpan(_) => ScalarType::TimeSpan,
            Value::Guid(_) => ScalarType::Guid,
            Value::String(_) => ScalarType::String,
            Value::Dynamic(_) => ScalarType::Dynamic,
        }
    }
}
