"""What `repvgg-np evaluate` says: numbers for JSON, and the same as text."""


def evaluation_report(result, classes, form, mirrored):
    """Put the results of an evaluation into words.

    Parameters
    ----------
    result : Evaluation
    classes : sequence of str
    form : {"training", "inference"}
    mirrored : bool
        Whether the predictions are means over a picture and its mirror image.

    Returns
    -------
    numbers : dict
    text : str
    """
    pictures = len(result.predictions)
    per_class = dict(zip(classes, (float(accuracy) for accuracy in result.per_class_accuracy), strict=True))
    numbers = {
        "accuracy": result.accuracy,
        "loss": result.loss,
        "calibration_error": result.calibration_error,
        "pictures": pictures,
        "form": form,
        "tta": mirrored,
        "images_per_second": result.images_per_second,
        "per_class_accuracy": per_class,
        "confusion": result.confusion.tolist(),
    }
    width = max(map(len, per_class))
    lines = [f"{'':<{width}}  accuracy  most often taken for"]
    for row, (name, accuracy) in zip(result.confusion, per_class.items(), strict=True):
        lines.append(f"{name:<{width}}  {accuracy:8.2%}  {_taken_for(row, list(per_class).index(name), classes)}")
    views = "each seen with its mirror image, " if mirrored else ""
    lines.append(
        f"{result.accuracy:.2%} of {pictures:,} pictures correct, {views}loss {result.loss:.4f}, "
        f"calibration error {result.calibration_error:.2%}, "
        f"{result.images_per_second:.0f} images/s in {form} form"
    )
    return numbers, "\n".join(lines)


def _taken_for(row, own, classes):
    """Name the class that pictures of one class are most often taken for, and how many are."""
    wrong = row.copy()
    wrong[own] = 0
    most = int(wrong.argmax())
    return f"{classes[most]} ({wrong[most]} of {row.sum():,})" if wrong[most] else ""
