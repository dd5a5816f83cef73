"""Jobs on Amazon SageMaker, through the typed resource layer of its SDK (`sagemaker.core`, extra sagemaker)."""
