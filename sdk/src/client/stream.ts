/**
 * The client's position in the organization's stream: what it has handled, and what it may have missed.
 */
import type { AuthSuccess, Position } from "./frame.ts";

/**
 * Missed events that the server no longer has, or that are too many to replay. None of them follows, so reload what you
 * show.
 *
 * @example
 * ```ts
 * client.on.gap(({ from, to }) => {
 *   console.warn(from.epoch === to.epoch ? `missed up to ${to.offset - from.offset} events` : "the stream began anew");
 *   reload();
 * });
 * ```
 */
export interface Gap {
	/** The position after the last handled event. */
	readonly from: Position;
	/** Where the stream continues. */
	readonly to: Position;
}

/** The position from which a reconnect resumes. */
export class Stream {
	position: Position | undefined;

	constructor(position: Position | undefined) {
		this.position = position;
	}

	/** A connection begins; returns the gap, if there is one. Without a gap, missed events follow, so the position stays. */
	begin({ epoch, offset, recovered }: AuthSuccess): Gap | undefined {
		if (recovered || epoch === undefined || offset === undefined) return undefined;
		const from = this.position;
		const to = { epoch, offset };
		this.position = to;
		return from && { from, to };
	}

	/**
	 * Whether an event was already handled. The server sends none twice; this guards against it anyway. Events that are
	 * not stored have the offset of the last stored one, so an equal offset proves nothing.
	 */
	isPast(offset: number): boolean {
		return offset < (this.position?.offset ?? 0);
	}

	/**
	 * The event at this offset has been handled. It is recorded only now, because an event that a crash or disconnect
	 * interrupts must be delivered again.
	 */
	handled(offset: number): void {
		if (this.position) this.position = { ...this.position, offset };
	}
}
