//! The table: number, title and check of each row, in order. `57` is row 57 of the edge cases; `B` rows are our own.

use harness::site::Site;

use super::own::Workshop;
use super::{
    beyond, chunks, closing, deletes, digests, limits, login, manifests, mounts, names, protocol, pulls, put_tags,
    ranges, references, referrers, restarts, tag_names, tags, uploads,
};

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct TableRow {
    pub number: &'static str,
    pub title: &'static str,
    pub how: How,
}

/// Where a row can run.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// Against any registry.
    Anywhere(fn(&Site) -> anyhow::Result<()>),
    /// Against a server that the row starts with special settings.
    Own(fn(&Workshop) -> anyhow::Result<()>),
    /// Not possible here, for this reason.
    NotHere(&'static str),
}

const BACKEND: &str = "needs a remote storage backend that can be taken away: the loss gates cover it";
const NODES: &str = "needs a second node";
const UPSTREAM: &str = "needs pull-through and an upstream";

const fn row(number: &'static str, how: How, title: &'static str) -> TableRow {
    TableRow { number, title, how }
}

use How::{Anywhere, NotHere, Own};

#[rustfmt::skip]
pub const TABLE: &[TableRow] = &[
    row("1", Anywhere(login::anonymous_is_challenged), "anonymous GET /v2/ is challenged"),
    row("2", Anywhere(protocol::base_with_and_without_slash), "GET /v2 answers like /v2/, without a redirect"),
    row("3", Anywhere(login::a_bad_login_is_no_login), "bad, expired or forged token"),
    row("4", Anywhere(login::a_token_for_less_is_not_enough), "token with too small a scope"),
    row("5", Anywhere(login::no_rights_no_access), "permission denied"),
    row("6", Anywhere(login::a_token_may_expire_under_a_chunk), "token expires during a long PATCH"),
    row("7", Anywhere(names::invalid_names_are_refused), "invalid repository names"),
    row("8", Anywhere(names::names_over_255_are_refused), "names over 255 characters"),
    row("9", Anywhere(names::names_never_climb), "dots, empty segments, control bytes and backslashes in a name"),
    row("10", Anywhere(names::escaped_slash_is_part_of_a_name), "%2F inside a name"),
    row("11", Anywhere(digests::escaped_colon_is_a_colon), "%3A in a digest"),
    row("12", Anywhere(names::names_that_look_like_routes), "repository names that look like paths of the API"),
    row("13", Anywhere(names::underscore_is_no_repository), "names that begin with an underscore"),
    row("14", Anywhere(names::one_segment_is_a_name), "names of one segment"),
    row("15", Anywhere(digests::malformed_digest_is_refused_on_reads), "malformed digests on GET, HEAD and DELETE"),
    row("16", Anywhere(digests::malformed_digest_is_refused_on_pushes), "malformed digests on pushes"),
    row("17", Anywhere(digests::unknown_algorithm_is_unknown), "unknown digest algorithms"),
    row("18", Anywhere(digests::referrers_of_a_malformed_digest), "referrers of malformed digests and unknown algorithms"),
    row("19", Anywhere(tag_names::tags_have_128_characters), "tags of 128 and 129 characters"),
    row("20", Anywhere(tag_names::invalid_tags_are_refused), "invalid tags"),
    row("21", Anywhere(tag_names::fallback_and_signature_tags_are_tags), "tags of the fallback scheme and of signatures"),
    row("22", Anywhere(pulls::unknown_manifest_of_a_known_repository), "unknown tag or digest in a known repository"),
    row("23", Anywhere(pulls::reads_of_an_unknown_repository), "reads of an unknown repository"),
    row("24", Anywhere(pulls::accept_never_changes_a_manifest), "manifests without or with odd Accept"),
    row("25", Anywhere(pulls::matching_etag_is_304), "manifests with If-None-Match"),
    row("26", Anywhere(pulls::head_is_get_without_body), "HEAD is GET without the body"),
    row("27", Anywhere(pulls::a_blob_is_no_manifest), "a blob's digest asked for as a manifest"),
    row("28", Anywhere(pulls::a_manifest_is_no_blob), "a manifest's digest asked for as a blob"),
    row("29", Anywhere(ranges::satisfiable_ranges), "satisfiable ranges"),
    row("30", Anywhere(ranges::unsatisfiable_ranges), "unsatisfiable ranges"),
    row("31", Anywhere(ranges::empty_ranges), "empty suffix, and ranges of the empty blob"),
    row("32", Anywhere(ranges::garbage_ranges_are_ignored), "unknown units and garbage in Range"),
    row("33", Anywhere(ranges::several_ranges), "several ranges, too many, and floods"),
    row("34", Anywhere(ranges::if_range), "If-Range"),
    row("35", Anywhere(ranges::range_of_head_and_manifest_is_ignored), "Range on HEAD and on manifests"),
    row("36", Own(restarts::rot_is_never_served), "content rotten or cut short on disk"),
    row("37", NotHere(BACKEND), "backend down before the headers"),
    row("38", NotHere(BACKEND), "backend dies in the middle of a body"),
    row("39", Anywhere(pulls::clients_that_leave_cost_nothing), "clients that abort a GET"),
    row("40", Anywhere(uploads::post_begins_a_session), "POST begins a session"),
    row("41", Anywhere(uploads::post_body_without_digest_is_dropped), "POST with a body but no digest"),
    row("42", Anywhere(uploads::post_with_digest_is_a_whole_push), "POST with a digest is a whole push"),
    row("43", Anywhere(uploads::post_with_digest_and_no_length), "POST with a digest and chunked coding"),
    row("44", Anywhere(uploads::digest_algorithm_is_checked), "POST with digest-algorithm"),
    row("45", Anywhere(mounts::mount_from_a_repository_that_has_it), "mount from a repository that has the blob"),
    row("46", Anywhere(mounts::mount_of_what_is_not_there), "mount of a missing blob or from a missing repository"),
    row("47", Anywhere(login::no_mount_without_rights), "mount without rights on the source"),
    row("48", Anywhere(mounts::mount_without_a_source), "mount without from"),
    row("49", Anywhere(mounts::malformed_mounts), "mount of a malformed digest; from without mount"),
    row("50", Anywhere(mounts::mount_against_delete), "mount racing a delete of the source"),
    row("51", Anywhere(chunks::chunks_in_order), "PATCH in order"),
    row("52", Anywhere(chunks::chunks_out_of_order), "PATCH with a gap, an overlap, a repeat"),
    row("53", Anywhere(chunks::streams_append_and_roll_back), "PATCH without Content-Range, also interrupted"),
    row("54", Anywhere(chunks::a_ranged_chunk_broken_off_keeps_its_start), "interrupted ranged PATCH"),
    row("55", Anywhere(chunks::content_range_of_another_length), "Content-Range of another length than the body"),
    row("56", Anywhere(chunks::malformed_content_range), "malformed Content-Range, and tolerated forms"),
    row("57", Anywhere(chunks::ranged_chunk_without_length), "ranged PATCH in chunked coding"),
    row("58", Anywhere(chunks::a_chunk_of_nothing), "PATCH of zero bytes"),
    row("59", Anywhere(chunks::tiny_chunks), "chunks below any minimum"),
    row("60", Anywhere(chunks::two_chunks_at_once), "two PATCHes at once"),
    row("61", Anywhere(uploads::a_stale_location_still_leads_there), "an earlier Location"),
    row("62", Anywhere(uploads::no_session_but_ones_own), "unknown, foreign and forged sessions"),
    row("63", NotHere(NODES), "session on a node that died"),
    row("64", Anywhere(uploads::status_of_a_session), "GET and HEAD of a session"),
    row("65", Anywhere(uploads::cancel_ends_a_session), "DELETE of a session, again, and under a PATCH"),
    row("66", Anywhere(closing::close_needs_exactly_one_digest), "closing PUT without a digest or with two"),
    row("67", Anywhere(closing::digest_mismatch_discards_the_session), "closing PUT with another digest"),
    row("68", Anywhere(closing::last_chunk_out_of_order), "closing PUT with its chunk out of order"),
    row("69", Anywhere(closing::last_bytes_without_a_range), "closing PUT with a body and no range"),
    row("70", Anywhere(closing::algorithm_named_only_at_the_close), "algorithm named only at the close"),
    row("71", Anywhere(uploads::closing_twice_is_answered_twice), "closing PUT repeated after a lost 201"),
    row("72", Anywhere(uploads::a_known_digest_is_no_proof), "upload of a blob that exists"),
    row("73", Anywhere(uploads::the_same_blob_by_many_clients), "the same blob by several clients at once"),
    row("74", Anywhere(uploads::the_empty_blob), "the empty blob by every upload style"),
    row("75", Anywhere(uploads::a_body_cut_short_is_never_committed), "bodies shorter than announced"),
    row("76", Own(limits::blobs_over_the_limit), "blobs over the allowed size"),
    row("77", NotHere("needs a small file system of its own: the disk-full gate covers it"), "disk full in mid-upload"),
    row("78", Own(restarts::abandoned_sessions_expire), "abandoned sessions expire"),
    row("79", Own(restarts::uploads_survive_a_restart), "restart in mid-upload"),
    row("80", Anywhere(protocol::expect_100_continue), "Expect: 100-continue"),
    row("81", Anywhere(protocol::errors_while_the_body_comes_are_seen), "errors while the client still sends"),
    row("82", Own(limits::manifests_over_the_limit), "manifests over the limit"),
    row("83", Anywhere(manifests::manifests_up_to_4_mib), "manifests of 3.9 to 4 MiB"),
    row("84", Anywhere(manifests::bodies_that_are_no_manifest), "bodies that are not manifests"),
    row("85", Anywhere(manifests::odd_but_valid_bodies_are_kept), "odd but valid manifest bodies"),
    row("86", Anywhere(manifests::schema_version_is_2), "schemaVersion other than 2"),
    row("87", Anywhere(manifests::media_type_of_body_and_header_agree), "mediaType differs from Content-Type"),
    row("88", Anywhere(manifests::content_type_with_parameters_or_missing), "Content-Type with parameters or missing"),
    row("89", Anywhere(manifests::the_header_alone_gives_the_type), "no mediaType in the body"),
    row("90", Anywhere(manifests::unknown_manifest_types), "unknown manifest media types"),
    row("91", Anywhere(references::missing_references), "missing config, layer or child"),
    row("91", Own(limits::sparse_manifests), "missing references, with the check off and on"),
    row("92", Anywhere(references::foreign_layers_with_urls), "nondistributable layers with urls"),
    row("93", Anywhere(references::foreign_layers_without_urls), "nondistributable layers without urls"),
    row("94", Anywhere(references::blobs_of_another_repository), "blobs only in another repository"),
    row("95", Anywhere(references::subjects_of_every_kind), "subjects that are absent, indexes, or of other algorithms"),
    row("96", Anywhere(references::malformed_subjects), "malformed subjects"),
    row("97", Anywhere(references::sizes_that_are_not_so), "descriptors with wrong sizes"),
    row("98", Anywhere(manifests::embedded_data_must_match), "embedded data"),
    row("99", Anywhere(manifests::empty_lists_and_nested_indexes), "empty lists and nested indexes"),
    row("100", Anywhere(manifests::put_by_another_digest), "PUT by another digest"),
    row("101", Anywhere(manifests::putting_again_changes_nothing), "PUT of the same manifest again"),
    row("102", Anywhere(manifests::two_clients_put_one_tag), "PUT of one tag by two clients"),
    row("103", Anywhere(manifests::conditional_puts), "PUT with If-Match and If-None-Match"),
    row("104", Anywhere(put_tags::tag_parameters), "PUT with tag parameters"),
    row("105", Anywhere(put_tags::digest_parameter), "PUT of a tag with a digest parameter"),
    row("106", Anywhere(deletes::delete_of_a_tag), "DELETE of a tag"),
    row("107", Anywhere(deletes::delete_by_digest_takes_the_tags), "DELETE of a digest with tags"),
    row("108", Anywhere(deletes::delete_of_a_subject), "DELETE of a subject with referrers"),
    row("109", Anywhere(deletes::delete_of_an_index_child), "DELETE of a manifest that an index references"),
    row("110", Anywhere(deletes::delete_of_what_is_not_there), "DELETE of missing content, and twice"),
    row("111", Anywhere(deletes::delete_of_a_blob_in_use), "DELETE of a blob that is still referenced"),
    row("112", Anywhere(deletes::delete_of_a_blob_mounted_elsewhere), "DELETE of a blob mounted elsewhere"),
    row("113", Own(limits::deletes_disabled), "deletes disabled"),
    row("114", Anywhere(tags::a_page_of_none), "tags with n=0"),
    row("115", Anywhere(tags::page_sizes_that_are_no_number), "n that is not a number"),
    row("116", Own(limits::page_size_is_capped), "n above the server's cap"),
    row("117", Anywhere(tags::exactly_the_last_page), "exactly n tags left"),
    row("118", Anywhere(tags::last_need_not_exist), "last that is not a tag"),
    row("119", Anywhere(tags::a_repository_without_tags), "a repository without tags"),
    row("120", Anywhere(tags::tags_that_come_and_go_while_paging), "tags that come and go while paging"),
    row("121", Anywhere(referrers::filter_by_artifact_type), "referrers filtered by artifactType"),
    row("122", Anywhere(referrers::more_than_fits_one_answer), "referrers over 4 MiB"),
    row("123", Anywhere(referrers::listed_as_soon_as_pushed), "referrers before their subject, and 100 at once"),
    row("124", Anywhere(protocol::unknown_parameters_are_ignored), "unknown query parameters and ns"),
    row("125", Anywhere(protocol::methods_that_a_route_lacks), "methods that a path does not take"),
    row("126", Anywhere(protocol::unknown_paths), "unknown paths under /v2/"),
    row("127", Anywhere(protocol::heads_over_the_limits), "headers and URIs over the limits"),
    row("128", Own(limits::slow_clients), "slow headers and idle bodies"),
    row("129", Anywhere(protocol::framing_in_dispute_ends_the_connection), "two lengths, and bad chunk sizes"),
    row("130", NotHere("a rate limit cannot be provoked without knowing it; where one is set, every row would meet it"), "too many requests"),
    row("131", NotHere(UPSTREAM), "upstream refuses in pull-through"),
    row("132", NotHere(UPSTREAM), "upstream body fails verification"),
    row("133", NotHere(UPSTREAM), "upstream tag moved, upstream down"),
    row("134", Own(restarts::collection_disturbs_nobody), "collection during push, pull, mount and attach"),
    row("135", NotHere(NODES), "clock skew between nodes"),
    row("136", Own(restarts::shutdown_keeps_what_is_under_way), "graceful shutdown"),
    row("B1", Anywhere(beyond::tag_parameters_of_every_algorithm), "tag parameters of every algorithm, and repeated"),
    row("B2", Anywhere(beyond::extensions_are_discovered), "extension discovery"),
    row("B3", Anywhere(beyond::the_largest_chunk), "OCI-Chunk-Max-Length"),
    row("B4", Anywhere(beyond::referrers_in_pages), "referrers in pages"),
    row("B5", Anywhere(beyond::catalog_in_pages), "catalog in pages"),
    row("B6", Anywhere(beyond::fallback_tags_do_not_double), "fallback referrers tags"),
    row("B7", Anywhere(beyond::blobs_by_condition), "blobs with If-None-Match"),
    row("B8", Anywhere(beyond::every_algorithm_by_every_style), "every algorithm by every upload style"),
    row("B9", Anywhere(beyond::every_answer_names_the_api), "every answer names the API version"),
    row("B10", Anywhere(beyond::blobs_come_as_they_are), "content is never re-encoded"),
    row("B11", Own(limits::catalog_lists_what_holds_a_manifest), "the catalog lists repositories with a manifest only"),
    row("B12", Own(limits::an_announced_length_over_the_limit), "blob length announced over the limit"),
    row("B13", Own(closing::whoever_sent_the_last_byte_may_leave), "clients that leave after the last byte of a push"),
    row("B14", Anywhere(beyond::a_plus_in_a_query_is_a_plus), "a plus in a query"),
    row("B15", Anywhere(beyond::if_match_on_reads), "GET and HEAD with If-Match"),
    row("B16", Anywhere(beyond::no_length_without_content), "no Content-Length with 204 and 304"),
    row("B17", Anywhere(manifests::keys_that_clients_read_differently), "manifest keys that stand twice, or in another case"),
    row("B18", Anywhere(beyond::conditional_deletes), "DELETE with If-Match and If-None-Match"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_stands_in_the_table_in_order() {
        let mut numbers: Vec<_> = TABLE.iter().map(|row| row.number).collect();
        numbers.dedup();
        let want: Vec<_> = (1..=136).map(|n| n.to_string()).chain((1..=18).map(|n| format!("B{n}"))).collect();
        assert_eq!(numbers, want);
    }

    #[test]
    fn a_row_that_cannot_run_says_why() {
        for row in TABLE {
            if let NotHere(why) = row.how {
                assert!(why.len() > 10, "row {} says {why:?}", row.number);
            }
        }
    }
}
