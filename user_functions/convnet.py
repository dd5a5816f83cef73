"""The demo's second model: a plain torch module, because nothing here asks for a transformers model."""

from __future__ import annotations

import torch
from torch import nn


class ConvNet(nn.Module):
    """Embeds each token, looks at neighbouring tokens with one convolution, and keeps its strongest answers.

    How far a row is padded does not change its logits: padding is zero before the convolution, which is what a
    convolution sees beyond the end of a text, and zero again before the maximum, which is taken over values from 0.
    """

    def __init__(
        self, vocabulary: int, num_labels: int, *, embedding_size: int, channels: int, width: int, dropout: float
    ) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(vocabulary, embedding_size)
        self.convolution = nn.Conv1d(embedding_size, channels, kernel_size=width, padding=width // 2)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels, num_labels)
        nn.init.normal_(self.embeddings.weight, std=0.3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Take tokens and mask, both (batch, tokens), and return the logits, (batch, labels)."""
        mask = attention_mask.unsqueeze(1).to(self.embeddings.weight.dtype)  # (batch, 1, tokens)
        tokens = self.dropout(self.embeddings(input_ids)).transpose(1, 2)  # (batch, embedding, tokens)
        found = torch.relu(self.convolution(tokens * mask)) * mask  # (batch, channels, tokens)
        return self.classifier(self.dropout(found.amax(dim=2)))
