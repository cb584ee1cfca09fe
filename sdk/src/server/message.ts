/**
 * Messages of `POST /broadcast`, built from a call's arguments.
 */
import { invalid } from "./error.ts";

/** How a value is hidden. */
export type MaskType = "email" | "phone" | "ssn" | "creditCard" | "name" | "redact";

/** How a column is masked, and who sees its value. */
export interface MaskRule {
	readonly type: MaskType;
	/** Without it, everyone sees the masked value. */
	readonly show?: {
		/** Holders of one of these roles see the value. */
		readonly roles?: readonly string[];
		/** So does the owner of the row. */
		readonly or?: "owner";
	};
}

/** Masks by column, or by dotted path (`address.phone`) into one. */
export type MaskingConfig<Column extends string = string> = { readonly [Path in Column | `${Column}.${string}`]?: MaskRule };

/** Who receives a message, and how it is masked. An absent key restricts nothing; a key that is `undefined` is rejected. */
export interface MessageOptions {
	/** Only this user. */
	readonly userId?: string;
	/** Only holders of at least one of these roles. With `userId`, both must hold. */
	readonly targetRoles?: readonly string[];
	/** Only subscribers of this topic. */
	readonly topic?: string;
	/** Whether the topic is private, governed by the Worker's channel policies. Default: true. */
	readonly private?: boolean;
	/** What is masked for whom. */
	readonly maskingConfig?: MaskingConfig;
	/** The key that holds the owner, for `or: "owner"`. Default: the first present of `userId`, `user_id`, `ownerId`, … */
	readonly ownerField?: string;
	/** `false`: not retained for recovery, whatever the table says. */
	readonly history?: boolean;
	/**
	 * The idempotency key; a message repeated within 10 minutes is delivered once. Default: a random one, the same for
	 * every retry.
	 */
	readonly id?: string;
}

/** {@link MessageOptions}, and the encoding of the payload. */
export interface BroadcastOptions extends MessageOptions {
	/** The payload is base64 text (RFC 4648, section 4) that encodes bytes. It excludes `maskingConfig`. */
	readonly encoding?: "base64";
}

/** {@link MessageOptions}, the columns of a row that are sent, and their types. */
export interface ChangeOptions<Column extends string = string> extends MessageOptions {
	/** The columns that are sent. Default: all. */
	readonly fields?: readonly Column[];
	/**
	 * Database types of columns, such as `numeric`, which Supabase clients use to cast values. Default: the table's
	 * `columns`.
	 */
	readonly columns?: { readonly [Name in Column]?: string };
	/** See {@link MessageOptions.maskingConfig}. */
	readonly maskingConfig?: MaskingConfig<Column>;
}

/** The operation on a row. */
export type Operation = "INSERT" | "UPDATE" | "DELETE";

/** A message in the format of the request. */
export type Message = Readonly<Record<string, unknown>> & { readonly id: string };

/** A message about a row. A table's name is `table` or `schema.table`. */
export function changeMessage(
	table: string,
	eventType: Operation,
	rows: { readonly new: object | null; readonly old: object | null },
	options: ChangeOptions,
): Message {
	const dot = table.indexOf(".");
	const schema = dot < 0 ? "public" : table.slice(0, dot);
	return { ...complete(options), type: "postgres_changes", schema, table: table.slice(dot + 1), eventType, ...rows };
}

/** A message with an event name chosen by the application. */
export function broadcastMessage(event: string, payload: unknown, options: BroadcastOptions): Message {
	return { ...complete(options), type: "broadcast", event, payload: payload ?? null };
}

/**
 * Passes on every key, because the Worker rejects misspelt ones. JSON would drop an undefined key, and a message for
 * one user would go to the whole organization: `{ userId: session.userId }` of a session without a user.
 */
function complete(options: BroadcastOptions): { id: string } {
	for (const [name, value] of Object.entries(options)) {
		if (value === undefined) throw invalid(name, "is undefined: leave it out to restrict nothing");
	}
	return { id: crypto.randomUUID(), ...options };
}
