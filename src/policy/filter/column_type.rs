//! Column types as databases print them, and what each means for a comparison.

/// How the values of a declared type are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// As decimal numbers of any length.
    Number,
    /// As truth values.
    Boolean,
    /// As text, byte by byte.
    Text,
    /// As points in time; one without an offset is in UTC.
    Timestamp,
    /// As the 128 bits of a UUID.
    Uuid,
    /// Not at all: the database has its own order for the type, so a filter on such a column matches nothing.
    Incomparable,
}

const NUMBERS: [&str; 26] = [
    "int2",
    "int4",
    "int8",
    "int",
    "integer",
    "smallint",
    "bigint",
    "tinyint",
    "mediumint",
    "serial",
    "serial2",
    "serial4",
    "serial8",
    "smallserial",
    "bigserial",
    "float4",
    "float8",
    "float",
    "real",
    "double",
    "double precision",
    "numeric",
    "decimal",
    "oid",
    "xid",
    "number",
];
/// `date` and `time` are here because the order of their texts is the order of their values.
const TEXTS: [&str; 17] = [
    "text",
    "varchar",
    "character varying",
    "char",
    "character",
    "bpchar",
    "nchar",
    "nvarchar",
    "clob",
    "name",
    "citext",
    "string",
    "date",
    "time",
    "time without time zone",
    "blob",
    "bytea",
];
const TIMESTAMPS: [&str; 5] =
    ["timestamptz", "timestamp", "timestamp with time zone", "timestamp without time zone", "datetime"];
const INCOMPARABLE: [&str; 24] = [
    "json",
    "jsonb",
    "xml",
    "interval",
    "timetz",
    "time with time zone",
    "money",
    "bit",
    "bit varying",
    "varbit",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "point",
    "line",
    "lseg",
    "box",
    "path",
    "polygon",
    "circle",
    "tsvector",
    "tsquery",
    "any",
];

impl ColumnType {
    /// The comparison for a type's name as printed by `pg_type`, `format_type`, `information_schema` or SQLite: in any
    /// case, with or without length or precision. `None` for an unknown type.
    pub fn named(name: &str) -> Option<ColumnType> {
        let name = bare(name);
        let is_one_of = |names: &[&str]| names.contains(&name.as_str());
        match () {
            () if name.ends_with("[]") || name.starts_with('_') => Some(ColumnType::Incomparable),
            () if is_one_of(&NUMBERS) => Some(ColumnType::Number),
            () if is_one_of(&["bool", "boolean"]) => Some(ColumnType::Boolean),
            () if is_one_of(&TEXTS) => Some(ColumnType::Text),
            () if is_one_of(&TIMESTAMPS) => Some(ColumnType::Timestamp),
            () if name == "uuid" => Some(ColumnType::Uuid),
            () if is_one_of(&INCOMPARABLE) => Some(ColumnType::Incomparable),
            () => None,
        }
    }
}

/// The name in lower case, without a modifier such as `(10,2)` and with single spaces.
fn bare(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let without = match (lower.split_once('('), lower.rsplit_once(')')) {
        (Some((before, _)), Some((_, after))) => format!("{before} {after}"),
        _ => lower,
    };
    let words: Vec<&str> = without.split_ascii_whitespace().filter(|word| *word != "unsigned").collect();
    words.join(" ").replace(" []", "[]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_as_databases_print_them() {
        let known = [
            ("INTEGER", ColumnType::Number),
            ("numeric(10,2)", ColumnType::Number),
            ("BIGSERIAL", ColumnType::Number),
            ("REAL", ColumnType::Number),
            ("Double  Precision", ColumnType::Number),
            ("BIGINT UNSIGNED", ColumnType::Number),
            ("character varying(255)", ColumnType::Text),
            ("VARCHAR (20)", ColumnType::Text),
            ("boolean", ColumnType::Boolean),
            ("timestamptz", ColumnType::Timestamp),
            ("timestamp(3) with time zone", ColumnType::Timestamp),
            ("DATETIME", ColumnType::Timestamp),
            ("UUID", ColumnType::Uuid),
            ("jsonb", ColumnType::Incomparable),
            ("_int4", ColumnType::Incomparable),
            ("integer[]", ColumnType::Incomparable),
            ("varchar(20)[]", ColumnType::Incomparable),
        ];
        for (name, expected) in known {
            assert_eq!(ColumnType::named(name), Some(expected), "{name}");
        }
        for unknown in ["", "intt", "mood", "int 4", "text text"] {
            assert_eq!(ColumnType::named(unknown), None, "{unknown}");
        }
    }
}
