/**
 * What can be set.
 */
import type { BackoffOptions } from "./backoff.ts";
import type { Socket } from "./connection.ts";
import type { Position } from "./frame.ts";
import type { HeartbeatOptions } from "./heartbeat.ts";
import type { Surroundings } from "./surroundings.ts";
import type { TokenSource } from "./token.ts";

/** How a client connects. Everything but the token and the organization may be left out. */
export type ClientOptions = TokenSource & {
	/** The organization whose events these are; the token must name it. */
	organizationId: string;
	/** Where to resume: `client.position` of an earlier client, such as the one before a reload of the page. */
	position?: Position;
	/** `false`: only `connect()` connects. Otherwise the first handler does. */
	autoConnect?: boolean;
	/** How reconnecting is spread over time. */
	backoff?: BackoffOptions;
	/** How dead links are found. */
	heartbeat?: HeartbeatOptions;
	/** How long an attempt may take, from asking for a token to being authenticated: 15,000 ms unless given. */
	connectTimeout?: number;
	/** The WebSocket class; the global one unless given. */
	WebSocket?: new (url: string) => Socket;
	/** Clock, chance, network and visibility; the browser's unless given. */
	surroundings?: Surroundings;
};

/** What a handler for a table listens to. */
export interface TableOptions {
	/** The table's schema; `public` unless given here or as in `hr.employees`. `"*"` is any, and is the default for the table `"*"`. */
	schema?: string;
	/**
	 * Which rows, by the server's filter grammar: `status=eq.open,amount=gt.10`, or {@link where}'s. An update is judged on the new row: a
	 * row that leaves the filter is not announced. Where handlers have several filters for one table, the client must
	 * tell the changes apart itself. It cannot by patterns (`like`, `match` and their kin), nor by order between numbers
	 * that travel as strings: then the handler is not called, and `on.error` says so (`filter_undecidable`).
	 */
	filter?: string;
}
