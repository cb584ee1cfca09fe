/**
 * The frames of the wire, as far as the client reads them.
 */
import type { Broadcast, Change } from "./definitions.ts";

/**
 * A place in an organization's stream of events. Another epoch is another stream.
 *
 * @example
 * ```ts
 * window.addEventListener("pagehide", () => sessionStorage.setItem("position", JSON.stringify(client.position)));
 * ```
 */
export interface Position {
	readonly epoch: string;
	readonly offset: number;
}

/** Someone who is present. One user may be there several times: once per connection. */
export interface Member<M = Record<string, unknown>> {
	readonly client_id: string;
	readonly user_id: string | null;
	readonly metadata: M;
}

/** Who this connection is, as the server has verified it. */
export interface Identity {
	readonly organizationId: string;
	readonly userId: string | null;
	/** The first of `roles`. */
	readonly role: string | null;
	readonly roles: readonly string[];
	readonly authMethod: "session" | "api_key";
}

/** The answer to a good token; the one to a refresh has no position. */
export interface AuthSuccess extends Identity {
	readonly type: "auth_success";
	readonly epoch?: string;
	readonly offset?: number;
	readonly recovered?: boolean;
}

/** A refusal. Without an id it is about no subscription and no message of the client. */
export interface ErrorFrame {
	readonly type: "error" | "auth_error";
	readonly code: string;
	readonly message: string;
	readonly id?: string;
}

/** What happens among those present in a topic; without `topic`, in the lobby. */
export type PresenceFrame = { readonly topic?: string } & (
	| { readonly type: "presence_state"; readonly clients: readonly Member[] }
	| ({ readonly type: "presence_join" } & Member)
	| { readonly type: "presence_update"; readonly client_id: string; readonly metadata: Record<string, unknown> }
	| { readonly type: "presence_leave"; readonly client_id: string; readonly user_id: string | null }
);

/** An answer to what the client asked for under this id. */
export interface AnswerFrame {
	readonly type: "subscribed" | "unsubscribed" | "ack";
	readonly id: string;
}

/** Several events in one frame. */
export interface Batch {
	readonly events: readonly ServerFrame[];
}

/** Every frame of the server but that. */
export type ServerFrame =
	| AuthSuccess
	| ErrorFrame
	| PresenceFrame
	| AnswerFrame
	| Change
	| Broadcast
	| { readonly type: "auth_expired" | "pong" | "ping" };
