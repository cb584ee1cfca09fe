/**
 * The options of a client.
 */
import type { BackoffOptions } from "./backoff.ts";
import type { Socket } from "./connection.ts";
import type { Position } from "./frame.ts";
import type { HeartbeatOptions } from "./heartbeat.ts";
import type { Surroundings } from "./surroundings.ts";
import type { TokenSource } from "./token.ts";

/** How a client connects. Only the token and the organization are required. */
export type ClientOptions = TokenSource & {
	/** The organization; the token must name it. */
	organizationId: string;
	/** Where to resume: `client.position` of an earlier client, for example the one before a page reload. */
	position?: Position;
	/** `false`: only `connect()` connects. Otherwise the first handler does. */
	autoConnect?: boolean;
	/** How reconnects are spread over time. */
	backoff?: BackoffOptions;
	/** How dead connections are detected. */
	heartbeat?: HeartbeatOptions;
	/** The maximum duration of an attempt, from requesting a token to being authenticated. Default: 15,000 ms. */
	connectTimeout?: number;
	/** The WebSocket class. Default: the global one. */
	WebSocket?: new (url: string) => Socket;
	/** Clock, randomness, network and visibility. Default: the browser's. */
	surroundings?: Surroundings;
};

/** The options of a table handler. */
export interface TableOptions {
	/**
	 * The table's schema. Default: `public`, unless the name contains one, as in `hr.employees`. `"*"` is any schema,
	 * and is the default for the table `"*"`.
	 */
	schema?: string;
	/**
	 * Which rows, in the server's filter grammar: `status=eq.open,amount=gt.10`, or built with {@link where}. An update
	 * is judged on the new row: a row that leaves the filter is not announced. If handlers have several filters for one
	 * table, the client must evaluate them itself. It cannot do that for patterns (`like`, `match` and similar), nor
	 * for the order of numbers that are sent as strings. In these cases the handler is not called, and `on.error`
	 * reports `filter_undecidable`.
	 */
	filter?: string;
}
