"""How a batch looks in a notebook."""

from html import escape
from typing import Any, List, Optional

# Colors of its own for text and ground, so that it reads the same in dark notebooks.
_BOX = (
    "font-family:monospace;font-size:13px;line-height:1.7;background:#fff;color:#777;padding:8px;"
    "white-space:pre-wrap;overflow-wrap:anywhere"
)
_ROWS_SHOWN = 20


def batch_html(ids: Any, labels: Any, mask: Any, weights: Optional[Any], tokenizer: Any, title: str) -> str:
    """Each row as its tokens' text (their ids without a tokenizer); what is learned stands on green."""
    key = f"<span style='{_learned(1.0)}'>learned</span> not learned"
    parts = [f"<div style='{_BOX}'><div style='color:#222'>{escape(title)} &nbsp; {key}</div>"]
    for row in range(min(len(ids), _ROWS_SHOWN)):
        real = int(mask[row].sum())
        texts = _pieces(ids[row, :real], tokenizer)
        spans = [
            _span(texts[i], int(ids[row, i]), int(labels[row, i]), 1.0 if weights is None else float(weights[row, i]))
            for i in range(real)
        ]
        padding = len(ids[row]) - real
        note = f"<span style='color:#bbb'> +{padding} padding</span>" if padding else ""
        parts.append(f"<div style='border-top:1px solid #ddd;padding:4px 0'><b>{row}</b> {''.join(spans)}{note}</div>")
    if len(ids) > _ROWS_SHOWN:
        parts.append(f"<div>… {len(ids) - _ROWS_SHOWN} more rows</div>")
    return "".join(parts) + "</div>"


def _pieces(ids: Any, tokenizer: Any) -> List[str]:
    if tokenizer is None:
        return [f"{id} " for id in ids]
    decoder = tokenizer.decoder()
    texts = [decoder.append(id) for id in ids]
    if texts:
        texts[-1] += decoder.finish()
    # A token that only begins a character says nothing yet, but is there.
    return [text or "·" for text in texts]


def _span(text: str, id: int, label: int, weight: float) -> str:
    shown = escape(text).replace("\n", "⏎\n")
    about = f"id {id}, not learned" if label == -100 else f"id {id}, learned" + ("" if weight == 1 else f", weight {weight:g}")
    style = f" style='{_learned(weight)}'" if label != -100 else ""
    return f"<span title='{about}'{style}>{shown}</span>"


def _learned(weight: float) -> str:
    """The green grows with the weight; nothing of it is seen at 0."""
    return f"color:#111;background:rgba(76,175,80,{0.45 * min(max(weight, 0.0), 2.0) ** 0.5:.2f});border-radius:2px"
