//! Sets of bindings as DescribeAcls and DeleteAcls name them.

use super::{Binding, Operation, PatternType, Permission, ResourceType, WILDCARD};

/// Selects bindings. `None` everywhere means "any".
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Kind of the resources.
    pub resource_type: Option<ResourceType>,
    /// How `resource_name` selects patterns.
    pub pattern: PatternFilter,
    /// Name to compare.
    pub resource_name: Option<String>,
    /// Principal as it stands in the binding; `User:*` selects only bindings for everybody.
    pub principal: Option<String>,
    /// Host as it stands in the binding; `*` selects only bindings for every host.
    pub host: Option<String>,
    /// Operation as it stands in the binding: [`Operation::All`] selects only bindings for `ALL`.
    pub operation: Option<Operation>,
    /// Grants or denials.
    pub permission: Option<Permission>,
}

/// How a filter selects patterns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PatternFilter {
    /// Patterns of any type with exactly the name.
    #[default]
    Any,
    /// Every pattern that would match a resource of the name: the literal, the wildcard, every prefix.
    Match,
    /// Patterns of this type with exactly the name.
    Is(PatternType),
}

impl PatternFilter {
    /// By code; `None` for a code that no filter may have.
    pub fn from_code(code: i8) -> Option<PatternFilter> {
        match code {
            1 => Some(PatternFilter::Any),
            2 => Some(PatternFilter::Match),
            code => PatternType::from_code(code).map(PatternFilter::Is),
        }
    }
}

impl Filter {
    /// Whether the filter selects the binding.
    pub fn matches(&self, binding: &Binding) -> bool {
        let same_text =
            |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|text| text == is);
        self.resource_type
            .is_none_or(|wanted| wanted == binding.resource_type)
            && self.matches_pattern(binding)
            && same_text(&self.principal, &binding.principal)
            && same_text(&self.host, &binding.host)
            && self
                .operation
                .is_none_or(|wanted| wanted == binding.operation)
            && self
                .permission
                .is_none_or(|wanted| wanted == binding.permission)
    }

    fn matches_pattern(&self, binding: &Binding) -> bool {
        if matches!(self.pattern, PatternFilter::Is(wanted) if wanted != binding.pattern_type) {
            return false;
        }
        let Some(name) = self.resource_name.as_deref() else {
            return true;
        };
        let pattern = &*binding.resource_name;
        match (self.pattern, binding.pattern_type) {
            (PatternFilter::Match, PatternType::Literal) => pattern == name || pattern == WILDCARD,
            (PatternFilter::Match, PatternType::Prefixed) => name.starts_with(pattern),
            (PatternFilter::Any | PatternFilter::Is(_), _) => pattern == name,
        }
    }
}
