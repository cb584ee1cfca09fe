/**
 * The subscriptions of a side: adding them, their state, and removing them.
 */
import { nameOfTarget } from "./diagnosis.js";
import { element } from "./dom.js";

const STATES = { idle: "when connected", asked: "requested", standing: "active", refused: "refused" };

/** The subscriptions part of a side. */
export class SubscriptionsView {
	#link;
	#parts;
	#lines = new Map();

	/**
	 * @param {import("./link.js").Link} link
	 * @param {Record<string, HTMLElement>} parts
	 */
	constructor(link, parts) {
		this.#link = link;
		this.#parts = parts;
		const read = {
			tableForm: ({ table, schema, event, filter }) => ({ table, schema: schema || "public", event, ...(filter && { filter }) }),
			topicForm: ({ topic, space, presence }) => ({ topic, private: space === "private", presence: presence === "on" && !link.protocol.isForeign }),
		};
		for (const [name, targetOf] of Object.entries(read)) {
			parts[name].addEventListener("submit", (event) => this.#add(event, targetOf));
		}
	}

	draw() {
		const { list } = this.#link.interests;
		this.#drawLines(list);
		const refused = list.filter(({ state }) => state === "refused").length;
		const narrow = list.filter(({ isDefault }) => !isDefault).length;
		const all = list.some(({ isDefault }) => isDefault) ? "every change" : "";
		const more = narrow > 0 ? `${narrow} ${narrow === 1 ? "subscription" : "subscriptions"}` : "";
		this.#parts.subscriptionsSummary.textContent = [all, more, refused > 0 && `${refused} refused`].filter(Boolean).join(", ");
	}

	/** A line stays the same element for the life of its subscription, so that its button keeps the focus. */
	#drawLines(list) {
		const lines = new Map(list.map((interest) => [interest, this.#lines.get(interest) ?? this.#line(interest)]));
		for (const [{ state, error, presenceError, count }, { line, tag, received, problem }] of lines) {
			line.dataset.state = state;
			tag.className = `tag ${state}`;
			tag.textContent = STATES[state];
			received.textContent = `${count} received`;
			const refusal = error ?? presenceError;
			problem.textContent = refusal ? `${error ? "" : "presence: "}${refusal.code ?? "refused"}: ${refusal.message}` : "";
		}
		for (const [interest, { line }] of this.#lines) if (!lines.has(interest)) line.remove();
		for (const [interest, { line }] of lines) if (!this.#lines.has(interest)) this.#parts.subscriptions.append(line);
		this.#lines = lines;
	}

	#line(interest) {
		const { target, isDefault } = interest;
		const name = isDefault ? "every change" : nameOfTarget(target);
		const about = isDefault ? "the default, until a table is subscribed to" : target.presence ? "with presence" : "";
		const [tag, received, problem] = ["tag", "quiet", "problem whole"].map((name) => element("span", { class: name }));
		const title = element("span", { class: "grow" }, element("strong", {}, name), " ", element("span", { class: "quiet" }, about));
		const remove = element("button", { type: "button", class: "small", "aria-label": `Remove ${name}`, onclick: () => this.#remove(interest) }, "Remove");
		return { line: element("li", {}, title, tag, received, !isDefault && remove, problem), tag, received, problem };
	}

	#remove(interest) {
		this.#link.interests.remove(interest);
		// The button is gone, but the focus must not be.
		this.#parts.tableForm.elements.table.focus();
	}

	#add(event, targetOf) {
		event.preventDefault();
		const values = Object.fromEntries([...new FormData(event.target)].map(([name, value]) => [name, value.trim()]));
		try {
			this.#link.interests.add(targetOf(values));
			this.#parts.subscriptionProblem.textContent = "";
		} catch (error) {
			this.#parts.subscriptionProblem.textContent = `${error.message} To change the space, connect again with the token.`;
		}
	}
}
