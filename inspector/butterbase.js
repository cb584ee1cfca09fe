/**
 * The protocol of a Butterbase client.
 */

/** The dialect's part of one socket; {@link import("./foreign-client.js").ForeignClient} owns the socket. */
export class Butterbase {
	static protocol = { id: "butterbase", title: "Butterbase", isForeign: true, needsToken: false, hasWildcard: false, hasTopics: false };
	protocol = Butterbase.protocol;
	#who;
	/** Each subscription, by its number. */
	#tables = new Map();

	constructor(who) {
		this.#who = who;
	}

	get address() {
		const { organizationId, token } = this.#who;
		return `/v1/${encodeURIComponent(organizationId)}/realtime${token ? `?${new URLSearchParams({ token })}` : ""}`;
	}

	/** The first frame contains the identity. */
	opened() {
		return [];
	}

	subscribe(id, { table, filter }) {
		this.#tables.set(Number(id), table);
		return [{ type: "subscribe", table, id: Number(id), ...(filter && { filter: equalities(filter) }) }];
	}

	unsubscribe(id) {
		const table = this.#tables.get(Number(id));
		this.#tables.delete(Number(id));
		return [{ type: "unsubscribe", table, id: Number(id) }];
	}

	send() {
		throw new TypeError("Clients of Butterbase publish nothing: they call functions.");
	}

	/** The meaning of a frame. */
	read(frame) {
		const id = frame.id === undefined ? undefined : String(frame.id);
		const error = { code: frame.code ?? "error", message: frame.message };
		switch (frame.type) {
			case "connected":
				return [{ identity: { userId: null, roles: [frame.role], authMethod: "see role" } }];
			case "subscribed":
				return [{ standing: id }];
			// It will receive nothing.
			case "warning":
				return [{ refused: id, error }];
			case "error":
				return [this.#tables.has(Number(id)) ? { refused: id, error } : { error }];
			case "change":
				return [{ ids: (frame.subscriptions ?? []).map(String), event: changeOf(frame) }];
			default:
				return [];
		}
	}
}

/** A filter of this page in Butterbase's form: columns that must equal values. */
function equalities(filter) {
	const pairs = filter.split(",").map((part) => {
		const [, column, value] = part.match(/^([^=]+)=eq\.(.*)$/s) ?? [];
		if (column === undefined) throw new TypeError(`Filters of Butterbase are equalities, such as status=eq.open; ${part} is none.`);
		return [column, parsed(value)];
	});
	return Object.fromEntries(pairs);
}

/** Types must be equal too, so a text that reads as a number or a boolean becomes one. */
function parsed(text) {
	try {
		const value = JSON.parse(text);
		return value !== null && typeof value === "object" ? text : value;
	} catch {
		return text;
	}
}

function changeOf({ table, op, record, old_record: old, offset }) {
	return { type: "postgres_changes", schema: "public", table, eventType: op, new: record, old, ...(offset !== undefined && { offset }) };
}
