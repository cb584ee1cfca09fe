/**
 * What needs the service token: publishing, and an organization's figures. The token is kept in memory only.
 */

/** The deployment's API, with the token. Emits `changed` (the token) and `published` (with the publication). */
export class Service extends EventTarget {
	/**
	 * The last publication that was delivered: where it went, what it was, its offset once there is a receipt, and what has
	 * come since that may be it.
	 *
	 * @type {{organizationId: string, event: object, offset?: number, arrivals: {side: string, offset: number | undefined}[]} | undefined}
	 */
	publication;
	#token = "";

	get isKnown() {
		return this.#token !== "";
	}

	set token(token) {
		this.#token = token.trim();
		this.dispatchEvent(new Event("changed"));
	}

	/**
	 * Publishes an event.
	 *
	 * @returns {Promise<{status: number, answer: object}>} a receipt, or a refusal as `answer.error`
	 */
	async publish(organizationId, event) {
		const publication = { organizationId, event, arrivals: [] };
		const before = this.publication;
		this.publication = publication;
		const body = JSON.stringify({ organizationId, ...event });
		const { status, answer } = await this.#ask("/broadcast", { method: "POST", headers: { "content-type": "application/json" }, body });
		// A duplicate delivers nothing, so there is nothing to wait for.
		if (status === 202 && !answer.duplicate) publication.offset = answer.offset;
		else this.publication = before;
		this.dispatchEvent(new Event("published"));
		return { status, answer };
	}

	/** A side has received an event, perhaps the last published one. Without an offset, its name must suffice. */
	arrived(side, frame) {
		const { event, arrivals, offset = frame.offset } = this.publication ?? {};
		if (!event || frame.type !== event.type || frame.topic !== event.topic) return;
		if (frame.offset !== undefined && frame.offset !== offset) return;
		const isIt = frame.type === "broadcast" ? frame.event === event.event : frame.table === event.table;
		if (isIt) arrivals.push({ side, offset: frame.offset });
	}

	/** The figures of an organization. */
	async stats(organizationId) {
		const { status, answer } = await this.#ask(`/realtime/v1/stats?organizationId=${encodeURIComponent(organizationId)}`);
		if (status !== 200) throw new Error(`${status} ${answer.error?.code ?? ""}`);
		return answer;
	}

	async #ask(path, { headers, ...init } = {}) {
		const response = await fetch(path, { ...init, headers: { ...headers, authorization: `Bearer ${this.#token}` }, cache: "no-store", credentials: "omit" });
		const text = await response.text();
		try {
			return { status: response.status, answer: JSON.parse(text) };
		} catch {
			return { status: response.status, answer: { error: { code: "not_json", message: text.slice(0, 200) } } };
		}
	}
}
