//! Short ways to say what JSON looks like.

use serde_json::Value;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type,
};
use utoipa::openapi::{Ref, RefOr, Schema};

use crate::api::envelope::NameRule;

/// What JSON looks like.
pub(super) type Shape = RefOr<Schema>;

/// A member of an object.
pub(super) struct Member {
    name: &'static str,
    shape: Shape,
    required: bool,
}

/// A member that has to be there.
pub(super) fn needed(name: &'static str, shape: impl Into<Shape>) -> Member {
    Member {
        name,
        shape: shape.into(),
        required: true,
    }
}

/// A member that may be left out.
pub(super) fn optional(name: &'static str, shape: impl Into<Shape>) -> Member {
    Member {
        required: false,
        ..needed(name, shape)
    }
}

/// An object with these members; unknown ones are ignored.
pub(super) fn object(meaning: &str, members: impl IntoIterator<Item = Member>) -> ObjectBuilder {
    let object = plain(Type::Object, meaning);
    members.into_iter().fold(object, |object, member| {
        let object = object.property(member.name, member.shape);
        match member.required {
            true => object.required(member.name),
            false => object,
        }
    })
}

/// An object whose members have any names and this shape.
pub(super) fn map(meaning: &str, of: impl Into<Shape>) -> ObjectBuilder {
    plain(Type::Object, meaning).additional_properties(Some(AdditionalProperties::from(of.into())))
}

/// Any object.
pub(super) fn any_object(meaning: &str) -> ObjectBuilder {
    plain(Type::Object, meaning).additional_properties(Some(AdditionalProperties::FreeForm(true)))
}

pub(super) fn list(meaning: &str, of: impl Into<Shape>) -> ArrayBuilder {
    ArrayBuilder::new()
        .items(of.into())
        .description(Some(meaning))
}

pub(super) fn text(meaning: &str) -> ObjectBuilder {
    plain(Type::String, meaning)
}

pub(super) fn word(meaning: &str, words: impl IntoIterator<Item = &'static str>) -> ObjectBuilder {
    text(meaning).enum_values(Some(words))
}

pub(super) fn name(meaning: &str, rule: NameRule) -> ObjectBuilder {
    text(meaning).pattern(Some(rule.pattern()))
}

/// A name that may be `null`.
pub(super) fn nullable_text(meaning: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::SchemaType::Array(vec![
            Type::String,
            Type::Null,
        ]))
        .description(Some(meaning))
}

pub(super) fn flag(meaning: &str) -> ObjectBuilder {
    plain(Type::Boolean, meaning)
}

pub(super) fn flag_or(default: bool, meaning: &str) -> ObjectBuilder {
    flag(meaning).default(Some(Value::Bool(default)))
}

pub(super) fn int32(meaning: &str, minimum: i64) -> ObjectBuilder {
    plain(Type::Integer, meaning)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
        .minimum(Some(minimum))
        .maximum(Some(i64::from(i32::MAX)))
}

pub(super) fn amount(meaning: &str) -> ObjectBuilder {
    plain(Type::Number, meaning)
}

pub(super) fn count(meaning: &str) -> ObjectBuilder {
    plain(Type::Integer, meaning).minimum(Some(0_i64))
}

/// One that has a name in this document.
pub(super) fn named(name: &str) -> Shape {
    Ref::from_schema_name(name).into()
}

fn plain(kind: Type, meaning: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(kind)
        .description(Some(meaning))
}
