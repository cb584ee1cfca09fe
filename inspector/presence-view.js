/**
 * The members of each topic, and whether this connection is one.
 */
import { element, refill } from "./dom.js";
import { LOBBY } from "./interests.js";

/** The presence part of a side. */
export class PresenceView {
	#link;
	#parts;

	/**
	 * @param {import("./link.js").Link} link
	 * @param {Record<string, HTMLElement>} parts
	 */
	constructor(link, parts) {
		this.#link = link;
		this.#parts = parts;
		parts.presenceForm.addEventListener("submit", (event) => this.#track(event));
		parts.untrack.addEventListener("click", () => this.#untrack());
	}

	draw() {
		const { interests } = this.#link;
		const places = new Map([[LOBBY, true], ...interests.list.filter(({ target }) => "topic" in target).map(({ target }) => [target.topic, target.private])]);
		this.#offer(places);
		const { rosters, tracked } = interests;
		const rooms = [...new Set([...rosters.keys(), ...tracked.keys()])];
		refill(this.#parts.rosters, rooms.map((place) => this.#roster(place, rosters.get(place) ?? [], tracked.has(place))));
		const count = [...rosters.values()].reduce((sum, members) => sum + members.length, 0);
		this.#parts.presenceSummary.textContent = rooms.length === 0 ? "not watched" : `${count} in ${rooms.length} ${rooms.length === 1 ? "place" : "places"}`;
	}

	#offer(places) {
		const { place } = this.#parts.presenceForm.elements;
		const names = [...places.keys()];
		if (JSON.stringify(names) === JSON.stringify([...place.options].map(({ value }) => value))) return;
		const { value } = place;
		place.replaceChildren(...names.map((name) => element("option", { value: name }, titleOf(name))));
		place.value = places.has(value) ? value : LOBBY;
	}

	#roster(place, members, isTracked) {
		const rows = members.map(({ client_id: client, user_id: user, metadata }) => {
			const codes = [client, JSON.stringify(metadata)].map((text) => element("td", {}, element("code", {}, text)));
			return element("tr", {}, element("td", {}, user ?? "no user"), ...codes);
		});
		const head = element("tr", {}, ...["User", "Client", "Metadata"].map((name) => element("th", { scope: "col" }, name)));
		const caption = element("caption", {}, `${titleOf(place)}: ${members.length}${isTracked ? ", this connection among them" : ""}`);
		return element("table", { class: "roster" }, caption, element("thead", {}, head), element("tbody", {}, ...rows));
	}

	#values() {
		const { place, metadata } = Object.fromEntries(new FormData(this.#parts.presenceForm));
		const interest = this.#link.interests.list.find(({ target }) => target.topic === place);
		return { place, metadata, isPrivate: interest?.target.private ?? true };
	}

	#track(event) {
		event.preventDefault();
		const { place, metadata, isPrivate } = this.#values();
		try {
			const said = JSON.parse(metadata.trim() || "{}");
			if (said === null || typeof said !== "object" || Array.isArray(said)) throw new TypeError("Metadata is a JSON object.");
			this.#link.interests.track(place, isPrivate, said);
			this.#parts.presenceProblem.textContent = "";
		} catch (error) {
			this.#parts.presenceProblem.textContent = error.message;
		}
	}

	#untrack() {
		const { place, isPrivate } = this.#values();
		this.#link.interests.track(place, isPrivate, undefined);
	}
}

const titleOf = (place) => (place === LOBBY ? "the lobby" : place);
