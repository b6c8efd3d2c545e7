//! What the control socket understands and answers, described in OpenAPI, from the types of requests and answers.

use utoipa::ToSchema;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ComponentsBuilder, Schema, Type};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, ObjectBuilder, OpenApi, OpenApiBuilder, PathsBuilder, Ref, RefOr, Required,
    ResponseBuilder,
};

use super::{Command, Failure, USER_HEADER};

/// Where it is had from.
pub const PATH: &str = "/openapi.json";

/// What a command may be refused with, each with the body of [`Failure`].
const REFUSALS: [(&str, &str); 8] = [
    ("400", "What was asked makes no sense"),
    ("401", "The uid that asks has no name on this system"),
    ("403", "The caller may not"),
    ("404", "There is no such thing, for all that the caller may know"),
    ("409", "It cannot be, for what is there"),
    ("413", "The request is too large"),
    ("429", "The caller asks too often, or for too much at a time"),
    ("500", "It failed: the daemon's log says more"),
];

/// A description that grows by one command after the other.
#[derive(Default)]
pub struct Description {
    paths: PathsBuilder,
    components: ComponentsBuilder,
}

impl Description {
    /// Adds a command.
    #[must_use]
    pub fn command<C: Command>(mut self) -> Self {
        let request = self.named::<C>();
        let answer = self.answer::<C::Answer>();
        self.named::<Failure>();
        let user = ParameterBuilder::new()
            .name(USER_HEADER)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some("Whom root acts for"))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)));
        let body = RequestBodyBuilder::new()
            .required(Some(Required::True))
            .content("application/json", content(request));
        let answered = ResponseBuilder::new()
            .description("It is done")
            .content("application/json", content(answer));
        let operation = OperationBuilder::new()
            .operation_id(Some(C::NAME))
            .summary(summary(&C::schema()))
            .parameter(user)
            .request_body(Some(body.build()))
            .response("200", answered);
        let item = PathItem::new(HttpMethod::Post, refusals(operation));
        self.paths = self.paths.path(C::path(), item);
        self
    }

    /// Adds something that is read, as text of a kind.
    #[must_use]
    pub fn text(mut self, path: &str, kind: &str, summary: &str) -> Self {
        self.named::<Failure>();
        let text = ObjectBuilder::new().schema_type(Type::String);
        let answered = ResponseBuilder::new()
            .description("As of now")
            .content(kind, content(text));
        let operation = OperationBuilder::new()
            .operation_id(Some(path.trim_start_matches('/')))
            .summary(Some(summary))
            .response("200", answered);
        let item = PathItem::new(HttpMethod::Get, refusals(operation));
        self.paths = self.paths.path(path, item);
        self
    }

    /// The whole of it.
    pub fn finish(self) -> OpenApi {
        let itself = ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some("An OpenAPI document"));
        let answered = ResponseBuilder::new()
            .description("This description")
            .content("application/json", content(itself));
        let operation = OperationBuilder::new()
            .operation_id(Some("openapi"))
            .summary(Some("This description."))
            .response("200", answered);
        let paths = self.paths.path(PATH, PathItem::new(HttpMethod::Get, operation));
        let info = InfoBuilder::new()
            .title("lendfs")
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some(
                "HTTP on a unix socket. Who asks, the kernel tells: the peer's uid is the account.",
            ));
        OpenApiBuilder::new()
            .info(info)
            .paths(paths)
            .components(Some(self.components.build()))
            .build()
    }

    /// A type among those that have a name, with all that it is made of.
    fn named<T: ToSchema>(&mut self) -> Ref {
        self.parts::<T>();
        let components = std::mem::take(&mut self.components);
        self.components = components.schema(T::name(), T::schema());
        Ref::from_schema_name(T::name())
    }

    /// A list has no name of its own.
    fn answer<T: ToSchema>(&mut self) -> RefOr<Schema> {
        match T::schema() {
            RefOr::T(Schema::Array(list)) => {
                self.parts::<T>();
                RefOr::T(Schema::Array(list))
            }
            _ => RefOr::Ref(self.named::<T>()),
        }
    }

    fn parts<T: ToSchema>(&mut self) {
        let mut parts = Vec::new();
        T::schemas(&mut parts);
        for (name, schema) in parts {
            let components = std::mem::take(&mut self.components);
            self.components = components.schema(name, schema);
        }
    }
}

fn refusals(operation: OperationBuilder) -> OperationBuilder {
    REFUSALS.into_iter().fold(operation, |operation, (status, why)| {
        let refused = ResponseBuilder::new().description(why).content(
            "application/json",
            content(Ref::from_schema_name(Failure::name())),
        );
        operation.response(status, refused)
    })
}

fn content(schema: impl Into<RefOr<Schema>>) -> utoipa::openapi::Content {
    ContentBuilder::new().schema(Some(schema)).build()
}

fn summary(schema: &RefOr<Schema>) -> Option<String> {
    match schema {
        RefOr::T(Schema::Object(object)) => object.description.clone(),
        _ => None,
    }
}
