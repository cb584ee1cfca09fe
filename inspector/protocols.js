/**
 * The protocols that a connection of this page can use, with a client for each.
 */
import { Butterbase } from "./butterbase.js";
import { createClient, eventStreamFallback } from "./client.js";
import { Fluxbase } from "./fluxbase.js";
import { ForeignClient } from "./foreign-client.js";
import { Supabase } from "./supabase.js";
import { tapped, tappedStream } from "./tap.js";

/**
 * A protocol.
 *
 * @typedef {{id: string, title: string, isForeign: boolean, needsToken: boolean, hasWildcard: boolean, hasTopics: boolean}} Protocol
 *   `hasWildcard`: one subscription may be to every table; `hasTopics`: messages reach it
 */
const NATIVE = { isForeign: false, needsToken: true, hasWildcard: true, hasTopics: true };

/** All of them, by id. @type {Map<string, Protocol>} */
export const PROTOCOLS = new Map(
	[{ ...NATIVE, id: "native", title: "native" }, { ...NATIVE, id: "event-stream", title: "native, event stream" }, Supabase.protocol, Butterbase.protocol, Fluxbase.protocol].map((one) => [one.id, one]),
);

const FOREIGN = { supabase: Supabase, butterbase: Butterbase, fluxbase: Fluxbase };

/**
 * A client that is not connected yet. Whatever passes over its wire is noted.
 *
 * @param {string} id of a protocol
 * @param {{token: string, organizationId: string}} who
 * @param {object} notes of {@link tapped}, and `event(frame)` for the events of the foreign ones
 */
export function clientOf(id, who, notes) {
	const Dialect = FOREIGN[id];
	if (Dialect) return new ForeignClient(new Dialect(who), notes);
	const WebSocket = id === "event-stream" ? tappedStream(eventStreamFallback({ after: 0 }), notes) : tapped(notes);
	return createClient(location.origin, { ...who, autoConnect: false, WebSocket });
}
