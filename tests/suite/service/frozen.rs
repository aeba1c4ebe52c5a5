//! What is frozen into a token: options and free claims.

use std::collections::BTreeMap;

use jeton::api::{
    wire,
    wire::{
        TokenFormat,
        invoice_options::{LineItems, Status as InvoiceStatus},
        vendor_options::Network,
    },
};
use jeton_contract::reason::Reason;
use prost::Message as _;
use prost_types::{ListValue, Struct, Value, value::Kind};

use super::{
    calls::{IssueExt as _, refused_fields},
    harness::Service,
};

on_both_stores! {
    options_and_claims_come_back_byte_for_byte
    options_and_claims_survive_renewal
    unknown_and_missing_options_are_refused
    options_claims_and_tokens_have_a_size_limit
    claims_that_json_cannot_say_are_refused
}

pub fn options() -> wire::TokenOptions {
    wire::TokenOptions {
        invoice: Some(wire::InvoiceOptions {
            line_items: LineItems::Required.into(),
            status: vec![InvoiceStatus::Draft.into(), InvoiceStatus::Failed.into()],
            recurring: Some(false),
        }),
        pages: Some(wire::PageOptions { payment_methods: Some(true), email_log: Some(false), ..Default::default() }),
        style: Some(wire::StyleOptions { primary_color: "rebecca\"purple\u{1F49C}".into() }),
        vendors: Some(wire::VendorOptions { network: Network::Platform.into(), disable_creation: Some(true) }),
        entity: Some(wire::EntityOptions { enable_payments: None }),
    }
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn claims() -> Struct {
    let list = ListValue { values: vec![value(Kind::NumberValue(1.5)), value(Kind::NullValue(0))] };
    let inner = Struct { fields: BTreeMap::from([("exp".into(), value(Kind::BoolValue(true)))]) };
    let fields = [
        ("sub".to_owned(), value(Kind::StringValue("not the subject".into()))),
        ("active".to_owned(), value(Kind::BoolValue(false))),
        ("large".to_owned(), value(Kind::NumberValue(1e15))),
        ("empty".to_owned(), value(Kind::StringValue(String::new()))),
        ("list".to_owned(), value(Kind::ListValue(list))),
        ("é\"\\\u{0}".to_owned(), value(Kind::StructValue(inner))),
    ];
    Struct { fields: fields.into() }
}

async fn options_and_claims_come_back_byte_for_byte(service: Service) {
    let client = service.client().await;
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        for (options, claims) in
            [(Some(options()), Some(claims())), (Some(Default::default()), Some(Default::default())), (None, None)]
        {
            let request = wire::IssueTokenRequest {
                options: options.clone(),
                claims: claims.clone(),
                ..client.client_credentials().format(format)
            };
            let token = service.anonymous().issue(request).await;
            let introspection = service.introspect(&token.access_token).await;
            assert_eq!(
                introspection.options.map(|introspection| introspection.encode_to_vec()),
                options.map(|sent| sent.encode_to_vec())
            );
            assert_eq!(
                introspection.claims.map(|introspection| introspection.encode_to_vec()),
                claims.map(|sent| sent.encode_to_vec())
            );
            assert_eq!(introspection.subject, client.client_id);
        }
    }
}

async fn options_and_claims_survive_renewal(service: Service) {
    let client = service.client().await;
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        let request = wire::IssueTokenRequest {
            options: Some(options()),
            claims: Some(claims()),
            ..client.client_credentials().format(format).refresh()
        };
        let first = service.anonymous().issue(request).await;
        let second = service.anonymous().renew(client.renew(&first.refresh_token)).await;
        let introspection = service.introspect(&second.access_token).await;
        assert_eq!(introspection.format(), format);
        assert_eq!((introspection.options, introspection.claims), (Some(options()), Some(claims())));
    }
}

async fn unknown_and_missing_options_are_refused(service: Service) {
    let client = service.client().await;
    let invoice = |status: Vec<i32>, line_items: i32| wire::TokenOptions {
        invoice: Some(wire::InvoiceOptions { line_items, status, recurring: None }),
        ..Default::default()
    };
    let vendors = |network| wire::TokenOptions {
        vendors: Some(wire::VendorOptions { network, disable_creation: None }),
        ..Default::default()
    };
    let style = |color: &str| wire::TokenOptions {
        style: Some(wire::StyleOptions { primary_color: color.into() }),
        ..Default::default()
    };
    for (options, field) in [
        (invoice(vec![], 0), "options.invoice.status"),
        (invoice(vec![99], 0), "options.invoice.status[0]"),
        (invoice(vec![2, 0], 0), "options.invoice.status[1]"),
        (invoice(vec![2, 2], 0), "options.invoice.status"),
        (invoice(vec![2], 9), "options.invoice.line_items"),
        (vendors(0), "options.vendors.network"),
        (vendors(9), "options.vendors.network"),
        (style(""), "options.style.primary_color"),
        (style(&"x".repeat(65)), "options.style.primary_color"),
    ] {
        let request = wire::IssueTokenRequest { options: Some(options), ..client.client_credentials() };
        refused_fields(service.anonymous().issue_token(request).await, Reason::InvalidField, &[field]);
    }
}

async fn options_claims_and_tokens_have_a_size_limit(service: Service) {
    let client = service.client().await;
    let text = |bytes: usize| Struct { fields: [("k".to_owned(), value(Kind::StringValue("x".repeat(bytes))))].into() };
    let around = r#"{"k":""}"#.len();
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        let request =
            |claims| wire::IssueTokenRequest { claims: Some(claims), ..client.client_credentials().format(format) };
        let largest = service.anonymous().issue(request(text(2048 - around))).await;
        assert_eq!(service.introspect(&largest.access_token).await.claims, Some(text(2048 - around)));
        let result = service.anonymous().issue_token(request(text(2048 - around + 1))).await;
        refused_fields(result, Reason::TokenTooLarge, &["claims"]);
    }
    // All parts within their limits, and yet too long as a JWT: eight audiences, scopes, options and claims.
    let audience: Vec<String> = (0..8).map(|i| format!("https://{i}{}", "a".repeat(240))).collect();
    let scopes: Vec<String> = (0..8).map(|i| format!("{i}{}", "s".repeat(125))).collect();
    let big = wire::Client { audiences: audience.clone(), allowed_scopes: scopes.clone(), ..super::harness::plain() };
    let big = wire::Client { default_scopes: vec![], ..big };
    let client = service.client_in("default", big).await;
    let request = wire::IssueTokenRequest { audience, scopes, claims: Some(text(2000)), ..client.client_credentials() };
    let jwt = service.anonymous().issue_token(request.clone()).await;
    super::calls::refused(jwt, Reason::TokenTooLarge);
    let listed =
        wire::ListTokensRequest { tenant_id: "default".into(), ..super::calls::list_client(&client.client_id) };
    assert_eq!(service.admin().await.list_tokens(listed).await.unwrap().tokens, [], "what was refused is not listed");
    let opaque = service.anonymous().issue(request.format(TokenFormat::Opaque)).await;
    assert!(service.is_active(&opaque.access_token).await);
}

async fn claims_that_json_cannot_say_are_refused(service: Service) {
    let client = service.client().await;
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let claims = Struct { fields: [("k".to_owned(), value(Kind::NumberValue(number)))].into() };
        let request = wire::IssueTokenRequest { claims: Some(claims), ..client.client_credentials() };
        refused_fields(service.anonymous().issue_token(request).await, Reason::InvalidField, &["claims"]);
    }
}
