import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

interface DialogProps {
  title: string;
  /** Called when it is to close: by Escape, by the button, by what was done. */
  onClose: () => void;
  /** Of the form within; without, there is none. */
  onSubmit?: () => void;
  children: ComponentChildren;
  /** The buttons at its end. */
  ends?: ComponentChildren;
}

/** A modal dialog; the focus stays in it, and goes back to where it was. */
export function Dialog({ title, onClose, onSubmit, children, ends }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    const element = dialog.current;
    element?.showModal();
    return () => {
      element?.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  const inside = (
    <>
      <h2 id={id}>{title}</h2>
      {children}
      {ends && <div class="ends">{ends}</div>}
    </>
  );
  const submit = (event: Event) => {
    event.preventDefault();
    onSubmit?.();
  };
  return (
    <dialog
      ref={dialog}
      class="dialog"
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      {onSubmit ? <form onSubmit={submit}>{inside}</form> : <div>{inside}</div>}
    </dialog>
  );
}
