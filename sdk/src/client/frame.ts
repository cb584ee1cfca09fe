/**
 * The frames of the protocol, as far as the client reads them.
 */
import type { Broadcast, Change } from "./definitions.ts";

/**
 * A position in an organization's stream of events. Another epoch is another stream.
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

/** A member that is present. One user may be present several times: once per connection. */
export interface Member<M = Record<string, unknown>> {
	readonly client_id: string;
	readonly user_id: string | null;
	readonly metadata: M;
}

/** The identity of this connection, as verified by the server. */
export interface Identity {
	readonly organizationId: string;
	readonly userId: string | null;
	/** The first of `roles`. */
	readonly role: string | null;
	readonly roles: readonly string[];
	readonly authMethod: "session" | "api_key";
}

/** The answer to a valid token; the answer to a refresh has no position. */
export interface AuthSuccess extends Identity {
	readonly type: "auth_success";
	readonly epoch?: string;
	readonly offset?: number;
	readonly recovered?: boolean;
}

/** A refusal. Without an id, it concerns no subscription and no message of the client. */
export interface ErrorFrame {
	readonly type: "error" | "auth_error";
	readonly code: string;
	readonly message: string;
	readonly id?: string;
}

/** Presence in a topic; without `topic`, in the lobby. */
export type PresenceFrame = { readonly topic?: string } & (
	| { readonly type: "presence_state"; readonly clients: readonly Member[] }
	| ({ readonly type: "presence_join" } & Member)
	| { readonly type: "presence_update"; readonly client_id: string; readonly metadata: Record<string, unknown> }
	| { readonly type: "presence_leave"; readonly client_id: string; readonly user_id: string | null }
);

/** The answer to the request with this id. */
export interface AnswerFrame {
	readonly type: "subscribed" | "unsubscribed" | "ack";
	readonly id: string;
}

/** Several events in one frame. */
export interface Batch {
	readonly events: readonly ServerFrame[];
}

/** Every server frame except that one. */
export type ServerFrame =
	| AuthSuccess
	| ErrorFrame
	| PresenceFrame
	| AnswerFrame
	| Change
	| Broadcast
	| { readonly type: "auth_expired" | "pong" | "ping" };
